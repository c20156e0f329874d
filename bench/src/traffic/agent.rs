//! The process of one end. It is told what to do on its command line, and when by lines on its
//! stdin; it answers each with a line of JSON on its stdout.
//!
//! | line | answer |
//! |---|---|
//! | (start) | null, when its sockets listen |
//! | `begin` | [`Reading`]; exchanges are timed from now on |
//! | `read` | [`Reading`] |
//! | `end` | [`Reading`]; the last exchanges are timed |
//! | `stop` | [`Farewell`], when all its programs have ended |
//!
//! Each answer is `{"Ok": ..}` or `{"Err": "sentence"}`.

use super::program::Programs;
use super::{Farewell, Order, Reading};
use crate::Result;
use control::netns::Netns;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Is the agent of the namespace at a path, with an [`Order`] as JSON.
///
/// # Errors
/// When the words are not these, and when nobody listens to the answers.
pub fn serve_agent(args: &[OsString]) -> Result<()> {
    let [path, order] = args else {
        return Err("an agent wants a namespace and an order".into());
    };
    // Whoever measures may be killed.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let order: Order = serde_json::from_str(&order.to_string_lossy())?;
    // Threads that are started from now on are inside too.
    Netns::open_path(Path::new(path))?.enter()?;
    let mut programs = match Programs::start(&order) {
        Ok(programs) => programs,
        Err(e) => return say::<()>(Err(e.to_string())),
    };
    say(Ok(()))?;
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "begin" => say::<Reading>(Ok(programs.record(true)))?,
            "read" => say::<Reading>(Ok(programs.read()))?,
            "end" => say::<Reading>(Ok(programs.record(false)))?,
            "stop" => return say::<Farewell>(programs.stop().map_err(|e| e.to_string())),
            other => return Err(format!("an agent does not know '{other}'").into()),
        }
    }
    Ok(())
}

fn say<T: Serialize>(answer: std::result::Result<T, String>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// A running agent, from who started it. It ends with this value.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts `program`, a command that calls [`serve_agent`] with the words that follow, and
    /// waits until it is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub fn start(program: &[OsString], netns: &Netns, order: &Order) -> Result<Agent> {
        let (first, rest) = program.split_first().ok_or("no program for agents")?;
        let mut child = Command::new(first)
            .args(rest)
            .arg(netns.proc_path())
            .arg(serde_json::to_string(order)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let mut agent = Agent {
            child,
            orders: orders.ok_or("an agent has no stdin")?,
            answers: BufReader::new(answers.ok_or("an agent has no stdout")?),
        };
        agent.answer::<()>()?;
        Ok(agent)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says a line of the table above and waits for the answer.
    ///
    /// # Errors
    /// What the agent's programs met, or that the agent has ended.
    pub fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        self.orders.write_all(format!("{line}\n").as_bytes())?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("an agent ended: {}", self.child.wait()?).into());
        }
        let answer: std::result::Result<T, String> = serde_json::from_str(&line)?;
        Ok(answer?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
