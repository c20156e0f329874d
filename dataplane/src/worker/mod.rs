//! Level 6: the thread around the pipeline.
//!
//! A worker owns one queue of every port, reads by it and writes by it, so no frame crosses
//! threads. A second one for bulk (`relief`) writes by the first one's queues, and reads what lanes of
//! theirs it is given. A worker is told about ports over a channel, between batches. Rules and tables are shared
//! and made for it: whoever changes them does so on its own thread, and the generation number
//! tells the workers.

mod busy;
mod exchange;
mod hold;
mod inline;
mod lane;
mod messages;
mod moderation;
mod relief;
mod run;
mod runtime;
mod spin;
pub mod wait;

pub use crate::slow::ports::{AddPortError, PortReport};
pub use busy::WhileBusy;
pub use inline::Inline;
pub use lane::Lane;
pub use messages::Event;
pub use run::{Clock, Pace, Queues};
pub use runtime::{Runtime, Tables};
