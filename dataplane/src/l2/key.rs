//! What the FDB knows an address by.

use crate::base::{Mac, Vid};

/// VLAN identifier (upper 16 bits) and MAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FdbKey(u64);

impl FdbKey {
    /// The key of an address in a VLAN, 0 for untagged.
    #[inline(always)]
    pub const fn new(vid: Vid, mac: Mac) -> FdbKey {
        FdbKey::packed(vid, mac.to_u64())
    }

    /// The same with the address as [`Mac::to_u64`] gives it.
    #[inline(always)]
    pub const fn packed(vid: Vid, mac: u64) -> FdbKey {
        FdbKey(((vid & 0xfff) as u64) << 48 | mac)
    }

    /// The address.
    #[inline]
    pub const fn mac(self) -> Mac {
        Mac::from_u64(self.0)
    }

    /// The number in it. In the untagged network that is what [`Mac::to_u64`] gives.
    #[inline(always)]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// Whether it is a group address.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0 >> 40 & 1 == 1
    }
}
