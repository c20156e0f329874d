//! Numbers of nf_tables that several requests need: linux/netfilter/nf_tables.h, nfnetlink.h and
//! netfilter.h.

/// `NFPROTO_IPV4`
pub const IPV4: u8 = 2;
/// `NFNL_SUBSYS_NFTABLES`, where a message type has it.
pub const NFTABLES: u16 = 10 << 8;
/// `NFNL_MSG_BATCH_BEGIN`
pub const BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`
pub const END: u16 = 17;
/// `NFT_MSG_NEWTABLE`
pub const NEW_TABLE: u16 = NFTABLES;
/// `NFT_MSG_NEWCHAIN`
pub const NEW_CHAIN: u16 = NFTABLES | 3;
/// `NFT_MSG_NEWRULE`
pub const NEW_RULE: u16 = NFTABLES | 6;
/// `NF_INET_LOCAL_IN`
pub const INPUT: u32 = 1;
/// `NF_ACCEPT`
pub const ACCEPT: u32 = 1;
