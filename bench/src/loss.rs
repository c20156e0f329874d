//! Where frames and datagrams can get lost in the kernel, by its counters.
//!
//! What a program sent and its peer did not get has to be explained by these (and, for switchd,
//! by its own counts under named reasons). A counter that goes back means that an interface or a
//! process is not the one that it was: then nothing can be compared.

use crate::Result;
use control::netns::Netns;
use std::collections::BTreeMap;

/// Counters by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Adds one.
    pub fn put(&mut self, name: String, value: u64) {
        self.0.insert(name, value);
    }

    /// What grew since `earlier`, and by how much.
    ///
    /// # Errors
    /// When one went back or is gone.
    pub fn since(&self, earlier: &Counters) -> Result<BTreeMap<String, u64>> {
        let mut grew = BTreeMap::new();
        for (name, was) in &earlier.0 {
            match self.0.get(name) {
                None => return Err(format!("the counter '{name}' is gone").into()),
                Some(now) if now < was => {
                    return Err(
                        format!("the counter '{name}' went back from {was} to {now}").into(),
                    );
                }
                Some(_) => {}
            }
        }
        for (name, now) in &self.0 {
            let n = now - earlier.0.get(name).unwrap_or(&0);
            if n > 0 {
                grew.insert(name.clone(), n);
            }
        }
        Ok(grew)
    }

    /// The counters of a namespace: interfaces, UDP, and conntrack if it has any.
    ///
    /// # Errors
    /// When it can't be entered or read.
    pub fn add_namespace(&mut self, host: &str, netns: &Netns) -> Result<()> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let (dev, snmp, conntrack) = netns.run(|| {
            let conntrack = read("stat/nf_conntrack").unwrap_or_default();
            Ok::<_, std::io::Error>((read("dev")?, read("snmp")?, conntrack))
        })??;
        let all = interfaces(&dev)
            .into_iter()
            .chain(udp(&snmp))
            .chain(columns(
                &conntrack,
                &["insert_failed", "drop", "early_drop"],
                "conntrack",
            ));
        for (name, value) in all {
            self.put(format!("{host} {name}"), value);
        }
        Ok(())
    }

    /// The counters of a namespace's interfaces alone.
    ///
    /// # Errors
    /// When it can't be entered or read.
    pub fn add_interfaces(&mut self, host: &str, netns: &Netns) -> Result<()> {
        let dev = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        for (name, value) in interfaces(&dev) {
            self.put(format!("{host} {name}"), value);
        }
        Ok(())
    }

    /// What the machine's receive queues lost, of whatever namespace.
    pub fn add_machine(&mut self) {
        let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
        self.put("softnet dropped".to_owned(), softnet_dropped(&text));
    }
}

/// Errors and drops of each interface of a `/proc/net/dev`. Its columns: bytes, packets, errs,
/// drop, fifo, frame, compressed, multicast received; bytes, packets, errs, drop, .. sent.
fn interfaces(dev: &str) -> Vec<(String, u64)> {
    let mut out = Vec::new();
    for line in dev.lines() {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        for (what, column) in [
            ("rx errs", 2),
            ("rx drop", 3),
            ("tx errs", 10),
            ("tx drop", 11),
        ] {
            if let Some(n) = numbers.get(column).and_then(|n| n.parse().ok()) {
                out.push((format!("{} {what}", name.trim()), n));
            }
        }
    }
    out
}

/// The errors of the line `Udp:` of a `/proc/net/snmp`, whose names are in the line before.
/// `InErrors` includes those with names of their own.
fn udp(snmp: &str) -> Vec<(String, u64)> {
    let mut lines = snmp.lines().filter_map(|l| l.strip_prefix("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Vec::new();
    };
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .filter(|(name, _)| ["InErrors", "NoPorts", "SndbufErrors"].contains(name))
        .filter_map(|(name, n)| Some((format!("UDP {name}"), n.parse().ok()?)))
        .collect()
}

/// Sums of some columns of a file of `/proc/net/stat`: names in the first line, a line of
/// hexadecimal numbers per CPU.
fn columns(text: &str, wanted: &[&str], label: &str) -> Vec<(String, u64)> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split_whitespace().collect()).collect();
    let sum = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column));
        cells.filter_map(|n| u64::from_str_radix(n, 16).ok()).sum()
    };
    wanted
        .iter()
        .filter_map(|w| Some((w, names.iter().position(|n| n == w)?)))
        .map(|(w, column)| (format!("{label} {w}"), sum(column)))
        .collect()
}

/// The sum of the second column of a `/proc/net/softnet_stat` (net/core/net-procfs.c).
fn softnet_dropped(text: &str) -> u64 {
    text.lines()
        .filter_map(|l| l.split_whitespace().nth(1))
        .filter_map(|n| u64::from_str_radix(n, 16).ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(pairs: &[(&str, u64)]) -> Counters {
        let mut c = Counters::default();
        for (name, n) in pairs {
            c.put((*name).to_owned(), *n);
        }
        c
    }

    #[test]
    fn growth_is_told_and_going_back_refused() {
        let before = counters(&[("a", 5), ("b", 7)]);
        let grew = counters(&[("a", 5), ("b", 9), ("c", 1)])
            .since(&before)
            .unwrap();
        assert_eq!(grew, [("b".to_owned(), 2), ("c".to_owned(), 1)].into());
        let e = counters(&[("a", 4), ("b", 7)]).since(&before).unwrap_err();
        assert_eq!(e.to_string(), "the counter 'a' went back from 5 to 4");
        let e = counters(&[("a", 5)]).since(&before).unwrap_err();
        assert_eq!(e.to_string(), "the counter 'b' is gone");
    }

    #[test]
    fn interfaces_of_proc_net_dev() {
        let dev = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0: 1234567      90    1    2    0     0          0         0      333      44    3    4    0     0       0          0
";
        let found = interfaces(dev);
        assert_eq!(found.len(), 8);
        let eth0: Vec<u64> = found
            .iter()
            .filter(|(name, _)| name.starts_with("eth0 "))
            .map(|(_, n)| *n)
            .collect();
        assert_eq!(eth0, [1, 2, 3, 4]);
        assert_eq!(found[7].0, "eth0 tx drop");
    }

    #[test]
    fn udp_errors_of_proc_net_snmp() {
        let snmp = "\
Tcp: A B
Tcp: 1 2
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
Udp: 37 2 5 38 4 1 1
UdpLite: InDatagrams NoPorts InErrors
UdpLite: 0 9 9
";
        let expected = [
            ("UDP NoPorts", 2),
            ("UDP InErrors", 5),
            ("UDP SndbufErrors", 1),
        ];
        assert_eq!(udp(snmp), expected.map(|(n, v)| (n.to_owned(), v)).to_vec());
        assert_eq!(udp(""), []);
    }

    #[test]
    fn per_cpu_columns_are_hexadecimal_and_added_up() {
        let text = "\
entries  clashres found insert insert_failed drop early_drop
00000001  00000000 00000000 00000000 0000000a 00000001 00000000
00000001  00000000 00000000 00000000 00000010 00000002 00000000
";
        assert_eq!(
            columns(text, &["insert_failed", "drop", "absent"], "conntrack"),
            [
                ("conntrack insert_failed".to_owned(), 26),
                ("conntrack drop".to_owned(), 3)
            ]
        );
        assert_eq!(columns("", &["drop"], "conntrack"), []);
        assert_eq!(
            softnet_dropped("01f8712d 00000002 00000010\n022ac464 0000000f 0\n"),
            17
        );
    }
}
