//! The command line.
// Doc comments on flags are the help as people read it: brackets are defaults, not links.
#![allow(rustdoc::broken_intra_doc_links)]

use crate::measure::{MEASURES, Measure};
use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;

/// Rounds below which no bar is judged.
const JUDGED: u16 = 5;

/// docker0's twin (veth, kernel bridge, nftables, conntrack) and switchd side by side.
///
/// Builds both networks with the same hosts in namespaces of its own, runs each measure on them in
/// turn (A B A B ..) and prints medians, spreads, ratios and CPU as a Markdown table, then what was
/// lost on the way, what could not be measured here, and which bars were missed. Its own programs
/// make the traffic, a process at each end. switchd runs with its default flags. Nothing
/// machine-wide is changed, except that the cores are held awake (/dev/cpu_dma_latency) during the
/// runs of the side that says so.
///
/// It needs to be root, or a user with user namespaces who may open /dev/net/tun; the twin's NAT
/// needs the program nft (apt-get install nftables). What is missing is said and left out.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "versus",
    version,
    max_term_width = 100,
    after_help = "\
Exit code: 0 when all that was to be compared was compared, bars missed or not; 1 when something
failed or a comparison was refused (counters that contradict each other, a switch that was
restarted); 2 for wrong words. A measure that can't be had here is left out aloud and is no failure."
)]
pub struct Args {
    /// Only measures whose name contains one of these; see --list.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub filter: Vec<String>,
    /// Seconds of each run.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    pub seconds: f64,
    /// Rounds: runs of each side of each measure; of fewer than five none is judged.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pairs: u16,
    /// Show the zero-work patch between two TAPs beside every L2 measure; ping always has it.
    #[arg(long)]
    pub patch: bool,
    /// TCP congestion control of all sides, or `default` for the machine's; only reno is judged,
    /// since the timers of one that paces set the figure, not the network.
    #[arg(long, value_name = "NAME", default_value = "reno", value_parser = congestion_control)]
    pub cc: String,
    /// Let the real iperf3 make the TCP and UDP bulk (runs are rounded up to whole seconds).
    #[arg(long)]
    pub iperf3: bool,
    /// Ports of the switch that has many [500].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=2000))]
    pub ports: Option<u16>,
    /// Write the setting and all runs to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// See whether every measure works: one round of 0.2 s, 20 ports, the patch too, nothing judged.
    #[arg(long, conflicts_with_all = ["seconds", "pairs"])]
    pub check: bool,
    /// List the measures and end.
    #[arg(long)]
    pub list: bool,
    /// Further flags of switchd, as `-- --workers 1`.
    #[arg(last = true, value_name = "FLAGS")]
    pub switchd: Vec<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.05..=3600.0).contains(&s) => Ok(s),
        _ => Err("seconds are 0.05 to 3600".to_owned()),
    }
}

fn congestion_control(text: &str) -> Result<String, String> {
    let path = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let here = std::fs::read_to_string(path).unwrap_or_default();
    is_available(text, &here).map(|()| text.to_owned())
}

/// Whether the kernel lists it; where nothing is listed it will say so itself.
fn is_available(name: &str, list: &str) -> Result<(), String> {
    let known = name == "default" || list.split_whitespace().any(|n| n == name);
    match known || list.trim().is_empty() {
        true => Ok(()),
        false => Err(format!("this kernel has {}, and `default`", list.trim())),
    }
}

impl Args {
    /// The measures that are wanted.
    ///
    /// # Errors
    /// The part of a name that no measure has.
    pub fn measures(&self) -> Result<Vec<&'static Measure>, String> {
        let nothing = |f: &&String| MEASURES.iter().all(|m| !m.name.contains(f.as_str()));
        if let Some(f) = self.filter.iter().find(nothing) {
            return Err(format!(
                "no measure has '{f}' in its name; see versus --list"
            ));
        }
        let wanted = |m: &&Measure| {
            self.filter.is_empty() || self.filter.iter().any(|f| m.name.contains(f.as_str()))
        };
        Ok(MEASURES.iter().filter(wanted).collect())
    }

    /// How long a run is counted.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(if self.check { 0.2 } else { self.seconds })
    }

    /// Time of each run before that.
    pub fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.check { 100 } else { 400 })
    }

    /// How many rounds.
    pub fn rounds(&self) -> usize {
        if self.check { 1 } else { self.pairs.into() }
    }

    /// Ports of the crowded switch.
    pub fn crowd(&self) -> usize {
        let default = if self.check { 20 } else { 500 };
        self.ports.unwrap_or(default).into()
    }

    /// Why no bar is judged, if none is.
    pub fn not_judged(&self) -> Option<&'static str> {
        match (self.check, self.cc.as_str()) {
            (true, _) => Some("--check only sees whether everything works"),
            (_, "reno") if self.pairs < JUDGED => {
                Some("a median of fewer than 5 pairs says little")
            }
            (_, "reno") => None,
            _ => Some("the bars are for reno"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn args(words: &[&str]) -> Result<Args, String> {
        let all = ["versus"].iter().chain(words);
        Args::try_parse_from(all).map_err(|e| e.to_string())
    }

    #[test]
    fn definitions_hold_and_help_names_every_flag() {
        Args::command().debug_assert();
        let help = Args::command().render_long_help().to_string();
        for flag in [
            "filter", "seconds", "pairs", "patch", "cc", "iperf3", "ports", "json", "check", "list",
        ] {
            assert!(help.contains(&format!("--{flag}")), "{flag}");
        }
        assert!(help.contains("Exit code"));
    }

    #[test]
    fn defaults_are_five_rounds_of_three_seconds_judged() {
        let a = args(&[]).unwrap();
        assert_eq!(
            (a.time(), a.rounds(), a.crowd()),
            (Duration::from_secs(3), 5, 500)
        );
        assert_eq!(a.not_judged(), None);
        assert_eq!(a.measures().unwrap().len(), MEASURES.len());
    }

    #[test]
    fn check_is_short_and_judges_nothing() {
        let a = args(&["--check", "--", "--workers", "1"]).unwrap();
        assert_eq!(
            (a.time(), a.rounds(), a.crowd()),
            (Duration::from_millis(200), 1, 20)
        );
        assert!(a.not_judged().is_some());
        assert_eq!(a.switchd, ["--workers", "1"]);
        assert!(args(&["--check", "--pairs", "2"]).is_err());
        assert!(args(&["--cc", "default"]).unwrap().not_judged().is_some());
        assert!(args(&["--pairs", "4"]).unwrap().not_judged().is_some());
        assert_eq!(args(&["--pairs", "5"]).unwrap().not_judged(), None);
    }

    #[test]
    fn filters_are_alternatives() {
        let names = |words: &[&str]| -> Result<Vec<&str>, String> {
            let found = args(words)?.measures()?;
            Ok(found.iter().map(|m| m.name).collect())
        };
        assert_eq!(names(&["--filter", "rr-1,idle"]).unwrap(), ["rr-1", "idle"]);
        assert_eq!(
            names(&["--filter", "nonsense"]).unwrap_err(),
            "no measure has 'nonsense' in its name; see versus --list"
        );
    }

    #[test]
    fn wrong_values_are_refused() {
        for words in [
            &["--seconds", "0"][..],
            &["--seconds", "soon"],
            &["--seconds", "nan"],
            &["--pairs", "0"],
            &["--ports", "2"],
            &["--nonsense"],
        ] {
            assert!(args(words).is_err(), "{words:?}");
        }
        assert_eq!(is_available("reno", "reno cubic\n"), Ok(()));
        assert_eq!(is_available("default", "reno cubic\n"), Ok(()));
        assert_eq!(is_available("vegas", ""), Ok(()));
        assert_eq!(
            is_available("vegas", "reno cubic\n"),
            Err("this kernel has reno cubic, and `default`".to_owned())
        );
    }
}
