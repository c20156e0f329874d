//! Names of interfaces.

use super::SpecError;
use std::fmt;
use std::str::FromStr;

/// A name that the kernel accepts for an interface: 1 to 15 bytes, none of them a space, `/`,
/// `:` or `%`, and neither `.` nor `..` (`dev_valid_name` in net/core/dev.c; `%` would be taken
/// as a template by `dev_alloc_name`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfName(String);

impl IfName {
    /// Longest name in bytes (`IFNAMSIZ` less the closing zero).
    pub const MAX: usize = 15;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IfName {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<IfName, SpecError> {
        let bad = |why| SpecError::IfName {
            name: name.to_owned(),
            why,
        };
        if name.is_empty() {
            return Err(bad("is empty: give a name of 1 to 15 characters"));
        }
        if name.len() > IfName::MAX {
            return Err(bad("is too long: the kernel takes at most 15 characters"));
        }
        if name == "." || name == ".." {
            return Err(bad("is not allowed by the kernel: choose another"));
        }
        if let Some(c) = name
            .chars()
            .find(|c| !c.is_ascii_graphic() || matches!(c, '/' | ':' | '%' | ',' | '@'))
        {
            return Err(bad(match c {
                '/' | ':' | '%' | ',' | '@' => {
                    "contains one of / : % , @: use letters, digits, '-', '_' and '.'"
                }
                _ => "contains a space or a character outside ASCII: use letters and digits",
            }));
        }
        Ok(IfName(name.to_owned()))
    }
}
