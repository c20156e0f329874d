//! A conversation, as both of its ends would keep it.

use super::super::packet::*;
use super::ops::{Kind, Said};
use dataplane::base::Tuple;
use dataplane::frame::parse::tcp_flags;

/// A conversation.
pub(super) struct Conversation {
    pub kind: Kind,
    /// As the client sends.
    pub tuple: Tuple,
    pub client: usize,
    /// As the server receives it, and where it is; from what was delivered.
    pub there: Option<(Tuple, usize)>,
    pub by_gateway: bool,
    /// Next sequence number of client and server; 0 stands before the SYN.
    pub seq: [u32; 2],
    /// Whether each side has sent a SYN.
    pub open: [bool; 2],
    /// The last packet that each end got, from the IPv4 header on.
    pub last: [Option<Vec<u8>>; 2],
}

impl Conversation {
    /// The next TCP segment of one end.
    pub fn segment(&mut self, t: &Tuple, me: usize, said: Said, data: &[u8]) -> Vec<u8> {
        use tcp_flags::{ACK, FIN, PSH, RST, SYN};
        let (seq, ack) = (self.seq[me], self.seq[1 - me]);
        if !self.open[me] || said.what == 7 {
            self.open[me] = true;
            self.seq[me] = seq.wrapping_add(1);
            let flags = if me == 0 { SYN } else { SYN | ACK };
            let options = [2, 4, 5, 180, 3, 3, 7];
            return tcp_with(t, (seq, ack), flags, 64_000, &options, &[]);
        }
        let len = data.len() as u32;
        match said.what {
            3 => tcp(t, seq, ack, ACK, &[]),
            4 => {
                self.seq[me] = seq.wrapping_add(1);
                tcp(t, seq, ack, ACK | FIN, &[])
            }
            5 => tcp(t, seq, ack, RST, &[]),
            6 => tcp(t, seq.wrapping_sub(len), ack, ACK, data),
            8 => tcp(t, seq.wrapping_add(len << 9), ack, ACK, data),
            9 => tcp_with(t, (seq, ack), ACK, 0, &[], &[]),
            _ => {
                self.seq[me] = seq.wrapping_add(len);
                tcp(t, seq, ack, ACK | PSH, data)
            }
        }
    }
}
