//! Where and how a report was made.

use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine, and what was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Seconds since 1970.
    pub time: u64,
    /// `uname -r`.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// Cores.
    pub cores: usize,
    /// Cores that others kept busy in the second before the first run.
    pub neighbours: f64,
    /// Seconds of each run.
    pub seconds: f64,
    /// Rounds.
    pub pairs: usize,
    /// TCP congestion control of all sides.
    pub congestion_control: String,
    /// Version of iperf3, where it drives the bulk measures.
    pub iperf3: Option<String>,
    /// Further flags of switchd.
    pub flags: Vec<String>,
}

impl Setting {
    /// This machine's part; the rest is empty.
    pub fn here() -> Setting {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Setting {
            time: now.map_or(0, |d| d.as_secs()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model(&read("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            neighbours: 0.0,
            seconds: 0.0,
            pairs: 0,
            congestion_control: String::new(),
            iperf3: None,
            flags: Vec::new(),
        }
    }
}

fn model(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name"));
    let name = model.unwrap_or("unknown CPU");
    name.trim_start_matches(['\t', ':', ' ']).to_owned()
}

/// The machine's default TCP congestion control.
pub fn default_congestion_control() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
        .map_or_else(|_| "unknown".to_owned(), |s| s.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found() {
        assert_eq!(
            model("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nx: y\n"),
            "A CPU @ 2 GHz"
        );
        assert_eq!(model(""), "unknown CPU");
    }
}
