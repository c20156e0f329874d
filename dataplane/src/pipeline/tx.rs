//! The last stage: every frame to its egress port, in order, joined with its neighbours of the
//! same flow where the port takes superframes, cut and finished where it does not.

use crate::base::counters::Counters;
use crate::base::{PortId, Reason};
use crate::frame::{Batch, Frame};
use crate::port::PortQueue;
use crate::port::egress::{Egress, Written};
use crate::slow::ctx::{Out, Verdict};
use crate::slow::ports::PortTable;

/// Gives the queue by which this worker writes to a port.
pub trait Tx {
    /// The queue, or `None` when the port is gone.
    fn queue(&mut self, port: PortId) -> Option<&mut dyn PortQueue>;
}

#[derive(Clone, Copy)]
enum Item {
    Slot(u16),
    Made(u16),
}

/// Reused lists: what goes to which port.
pub struct Stage {
    ports: Vec<(PortId, Vec<Item>)>,
    /// Entries of `ports` in use; the rest keep their memory.
    used: usize,
    egress: Egress,
    /// What stands for an item that names no frame.
    empty: Frame,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            ports: Vec::new(),
            used: 0,
            egress: Egress::default(),
            empty: Frame::with_capacity(0),
        }
    }
}

impl Stage {
    /// Sends the frames that `verdicts` sends by one port, slot by slot, and then all of `out`, which
    /// it empties.
    pub fn send(
        &mut self,
        verdicts: &[Verdict],
        out: &mut Vec<Out>,
        batch: &Batch,
        table: &PortTable,
        counters: &Counters,
        tx: &mut dyn Tx,
    ) {
        if out.is_empty() && verdicts.is_empty() {
            return;
        }
        self.used = 0;
        for (slot, v) in (0u16..).zip(verdicts) {
            if let Verdict::To(port) = v {
                self.push(*port, Item::Slot(slot));
            }
        }
        for (n, o) in (0u16..).zip(out.iter()) {
            match o {
                Out::Slot(slot, port) => self.push(*port, Item::Slot(*slot)),
                Out::Made(_, port) => self.push(*port, Item::Made(n)),
                Out::SlotFlood(slot, except) => {
                    self.flood(Item::Slot(*slot), *except, table, counters);
                }
                Out::MadeFlood(_, except) => {
                    self.flood(Item::Made(n), *except, table, counters);
                }
            }
        }
        let empty = &self.empty;
        let frame = |item: Item| -> &Frame {
            match item {
                Item::Slot(i) => batch.frames().get(usize::from(i)).unwrap_or(empty),
                Item::Made(i) => match out.get(usize::from(i)) {
                    Some(Out::Made(f, _) | Out::MadeFlood(f, _)) => f,
                    _ => empty,
                },
            }
        };
        for (port, items) in self.ports.iter().take(self.used) {
            let Some(queue) = tx.queue(*port) else {
                items
                    .iter()
                    .for_each(|_| counters.drop(*port, Reason::PortGone));
                continue;
            };
            let nth = |i: usize| items.get(i).map_or(empty, |item| frame(*item));
            self.egress
                .write(queue, items.len(), nth, |w| count(counters, *port, &w));
            queue.flush();
        }
        out.clear();
    }

    fn push(&mut self, port: PortId, item: Item) {
        // A batch has few egress ports: a scan beats a table.
        if let Some((_, items)) = self
            .ports
            .iter_mut()
            .take(self.used)
            .find(|(p, _)| *p == port)
        {
            items.push(item);
            return;
        }
        if self.used == self.ports.len() {
            self.ports
                .push((port, Vec::with_capacity(crate::frame::batch::BATCH)));
        }
        if let Some((p, items)) = self.ports.get_mut(self.used) {
            *p = port;
            items.clear();
            items.push(item);
            self.used += 1;
        }
    }

    fn flood(&mut self, item: Item, except: PortId, table: &PortTable, counters: &Counters) {
        let mut copies = 0u64;
        for port in table.bridged(except) {
            self.push(port, item);
            copies += 1;
        }
        match copies {
            0 => counters.drop(except, Reason::NoOtherPort),
            n => counters.copies.add(n - 1),
        }
    }
}

fn count(counters: &Counters, port: PortId, w: &Written) {
    match w.result {
        Ok(()) => {
            counters.tx.add(w.frames);
            if let Some(c) = counters.port(port) {
                c.tx_frames.add(w.frames);
                c.tx_bytes.add(w.bytes);
            }
            if w.frames > 1 {
                counters.coalesced_writes.add(1);
            }
            counters.segments.add(w.segments);
        }
        Err(reason) => (0..w.frames).for_each(|_| counters.drop(port, reason)),
    }
}
