//! Pipes for `splice(2)`: one is held only while bytes wait in it, so that thousands of idle
//! connections need none.

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::OwnedFd;

/// An empty pipe, or one whose bytes belong to a [`super::tcp::Flow`].
#[derive(Debug)]
pub(super) struct Pipe {
    pub read: OwnedFd,
    pub write: OwnedFd,
}

/// Empty pipes to reuse, and how many are out.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Vec<Pipe>,
    busy: usize,
    max: usize,
}

/// Idle pipes kept open; more are closed when they come back.
const KEEP: usize = 16;

impl Pool {
    pub const fn new(max: usize) -> Pool {
        Pool {
            idle: Vec::new(),
            busy: 0,
            max,
        }
    }

    /// An empty pipe, unless too many are out or descriptors ran out.
    pub fn take(&mut self) -> Option<Pipe> {
        if self.busy >= self.max {
            return None;
        }
        let pipe = match self.idle.pop() {
            Some(pipe) => pipe,
            None => make().ok()?,
        };
        self.busy += 1;
        Some(pipe)
    }

    /// Takes an *empty* pipe back.
    pub fn give(&mut self, pipe: Pipe) {
        self.busy = self.busy.saturating_sub(1);
        if self.idle.len() < KEEP {
            self.idle.push(pipe);
        }
    }

    /// Closes a pipe that still holds bytes of a connection that ended.
    pub fn discard(&mut self, pipe: Pipe) {
        self.busy = self.busy.saturating_sub(1);
        drop(pipe);
    }

    /// Pipes that hold bytes.
    pub const fn busy(&self) -> usize {
        self.busy
    }
}

fn make() -> Result<Pipe, Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok(Pipe { read, write })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_most_are_out() {
        let mut pool = Pool::new(2);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        pool.give(a);
        assert!(pool.take().is_some());
        pool.discard(b);
        assert_eq!(pool.busy(), 1);
        assert!(pool.take().is_some());
    }
}
