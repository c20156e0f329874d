//! The command line of `switchctl`.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Talks to a running switchd over its control socket.
#[derive(Parser, Debug)]
#[command(name = "switchctl", version, max_term_width = 100)]
pub struct Switchctl {
    /// The daemon's control socket [/run/switchd/switchd.sock, or under $XDG_RUNTIME_DIR when
    /// not root].
    #[arg(long, value_name = "PATH", global = true)]
    pub control: Option<PathBuf>,
    /// Print the API's JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked of a daemon.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// What the daemon is and how it does.
    Status,
    /// The switch's ports with their counters.
    Ports,
    /// Attach a namespace: NETNS[:IP][,name=eth0][,mac=..].
    Attach {
        /// The namespace, a name, a path or pid:N, and what its interface is to be.
        #[arg(value_name = "NETNS[:IP][,..]")]
        spec: String,
    },
    /// Detach a namespace, named as it was attached, or by its address.
    Detach {
        /// Namespace, INTERFACE@NAMESPACE or address.
        #[arg(value_name = "NAME|IP")]
        port: String,
    },
    /// Publish a port: [HOST_IP:]PORT[-END]:CONTAINER_IP:PORT[-END][/tcp|udp].
    Publish {
        /// The port and where it leads.
        spec: String,
    },
    /// Withdraw a published port; its connections end at once.
    Unpublish {
        /// The port as it was published, or its id.
        #[arg(value_name = "SPEC|ID")]
        which: String,
    },
    /// The forwarding database, as `bridge fdb`.
    Fdb,
    /// The neighbours, as `ip neigh`.
    Neigh,
    /// The rules and their counters, as `iptables -t nat -L -n -v`.
    Rules,
    /// The tracked connections, as `conntrack -L`.
    Conntrack,
    /// Every counter, with the reasons for loss in words.
    Stats,
}
