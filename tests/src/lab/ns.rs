//! Namespaces with names, under the scenario's own /run/netns.

use control::netlink::{Address, Link, LinkChange, Netlink, Real};
use control::netns::{Netns, NetnsRef, create_named, delete_named};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// A namespace that is held open.
#[derive(Debug)]
pub struct Ns {
    netns: Netns,
}

impl Ns {
    /// A new one with a name, its `lo` up.
    pub fn named(name: &str) -> Ns {
        create_named(name).expect("a new namespace");
        Ns::open(name)
    }

    /// A new one without a name: switchd takes it by its [`Ns::path`].
    pub fn anonymous() -> Ns {
        Ns {
            netns: Netns::create().expect("a new namespace"),
        }
        .with_loopback()
    }

    fn open(name: &str) -> Ns {
        let netns = Netns::open(&NetnsRef::Name(name.to_owned())).expect("that namespace");
        Ns { netns }.with_loopback()
    }

    /// The scenario's own: the host, unless it says otherwise.
    pub fn own() -> Ns {
        Ns {
            netns: Netns::current().expect("the own namespace"),
        }
    }

    /// The one that a process is in.
    pub fn of_process(pid: u32) -> Ns {
        Ns {
            netns: Netns::open(&NetnsRef::Pid(pid)).expect("that namespace"),
        }
    }

    fn with_loopback(self) -> Ns {
        control::attach::loopback_up(&mut self.netlink()).expect("lo");
        self
    }

    /// The namespace itself.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A path by which switchd can find it while this value lives.
    pub fn path(&self) -> PathBuf {
        self.netns.proc_path()
    }

    /// Takes the name away and lets go: the namespace ends unless a socket or process is in it.
    pub fn delete(self, name: &str) {
        delete_named(name).expect("deleting a namespace");
    }

    /// Runs `f` inside.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns.run(f).expect("entering a namespace")
    }

    /// Talks to the kernel about it.
    pub fn netlink(&self) -> Real {
        Real::inside(&self.netns).expect("a netlink socket")
    }

    /// The interface of this name.
    pub fn link(&self, name: &str) -> Option<Link> {
        self.netlink().link(name).expect("asking for an interface")
    }

    /// The names of its interfaces, sorted.
    pub fn links(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .netlink()
            .links()
            .expect("its interfaces")
            .into_iter()
            .map(|l| l.name)
            .collect();
        names.sort();
        names
    }

    /// Its IPv4 addresses, without `lo`'s.
    pub fn addresses(&self) -> Vec<Address> {
        let mut all = self.netlink().addresses().expect("its addresses");
        all.retain(|a| !a.ip.is_loopback());
        all
    }

    /// Changes the MTU of an interface.
    pub fn set_mtu(&self, interface: &str, mtu: u32) {
        let index = self.link(interface).expect("that interface").index;
        let change = LinkChange {
            mtu: Some(mtu),
            ..LinkChange::default()
        };
        self.netlink()
            .change_link(index, &change)
            .expect("changing the MTU");
    }

    /// Deletes an interface.
    pub fn delete_link(&self, interface: &str) {
        let index = self.link(interface).expect("that interface").index;
        self.netlink().delete_link(index).expect("deleting it");
    }

    /// A TCP listener inside.
    pub fn listen(&self, ip: impl Into<Ipv4Addr>, port: u16) -> TcpListener {
        let at = SocketAddr::from((ip.into(), port));
        self.run(|| TcpListener::bind(at))
            .unwrap_or_else(|e| panic!("listening on {at}: {e}"))
    }

    /// A TCP connection from inside.
    pub fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = self.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(10)))?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        stream.set_write_timeout(Some(Duration::from_secs(15)))?;
        Ok(stream)
    }

    /// A UDP socket inside, which waits three seconds for a datagram.
    pub fn udp(&self, ip: impl Into<Ipv4Addr>, port: u16) -> UdpSocket {
        let at = SocketAddr::from((ip.into(), port));
        let socket = self
            .run(|| UdpSocket::bind(at))
            .unwrap_or_else(|e| panic!("UDP {at}: {e}"));
        socket
            .set_read_timeout(Some(Duration::from_secs(3)))
            .expect("a timeout");
        socket
    }
}
