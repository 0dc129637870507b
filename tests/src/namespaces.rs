//! Machines on one machine: network namespaces with lines between them that are slow, lose packets, and can be cut.
//!
//! Two switches, each with its machines, are joined by one line. Every machine has a second network card, for the
//! tests' own calls, which nothing ever cuts. Only root can have all this.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use crate::full_node::node_command;

/// The variable that makes a story that cannot be told a failure.
const REQUIRED_VARIABLE: &str = "CAIRN_TESTS_REQUIRE_ROOT";
/// Delay and loss of each machine's line, in the words of `tc`.
const NETEM: &str = "netem delay 30ms 10ms loss 2%";
/// Where the kernel has no netem: a line of little bandwidth, whose queue delays and overflows.
const NARROW: &str = "tbf rate 4mbit burst 4kb latency 60ms";

/// The machines. What was made goes with the value.
#[derive(Debug)]
pub struct Machines {
    name: String,
    net: u8,
    count: u8,
}

fn ip(words: &str) -> bool {
    run("ip", words)
}

fn run(program: &str, words: &str) -> bool {
    let mut command = Command::new(program);
    command.args(words.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Machines {
    /// Makes `left` machines on one switch and `right` on the other. None, with a message, where this user may not;
    /// that is a failure where `CAIRN_TESTS_REQUIRE_ROOT` is 1.
    ///
    /// # Panics
    /// Where they cannot be made although they must.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever reads the tests' output must know what was left out")]
    pub fn make(left: u8, right: u8) -> Option<Self> {
        // One process may tell several stories at a time.
        static MADE: AtomicU8 = AtomicU8::new(0);
        let (pid, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let [low, ..] = pid.to_le_bytes();
        let name = format!("cn{:x}n{number}", pid & 0xffff);
        let machines = Self { name, net: low.wrapping_add(number), count: left + right };
        if machines.wire(left) {
            return Some(machines);
        }
        drop(machines);
        let required = std::env::var(REQUIRED_VARIABLE).is_ok_and(|value| value == "1");
        assert!(!required, "no network namespaces can be made, and {REQUIRED_VARIABLE} is 1");
        eprintln!(
            "left out: only root with iproute2 can make network namespaces; {REQUIRED_VARIABLE}=1 makes this a failure"
        );
        None
    }

    fn wire(&self, left: u8) -> bool {
        let (name, net) = (&self.name, self.net);
        let mut done = true;
        for switch in ["l", "r", "m"] {
            done &= ip(&format!("link add {name}{switch} type bridge"));
            done &= ip(&format!("link set {name}{switch} up"));
        }
        done &= ip(&format!("addr add 10.213.{net}.254/24 dev {name}m"));
        done &= ip(&format!("link add {name}x type veth peer name {name}y"));
        done &= ip(&format!("link set {name}x master {name}l up"));
        done &= ip(&format!("link set {name}y master {name}r up"));
        for machine in 0..self.count {
            let (space, host) = (self.space(machine), machine + 1);
            let switch = if machine < left { "l" } else { "r" };
            done &= ip(&format!("netns add {space}"));
            for (card, net10, switch) in [("p", 214, switch), ("c", 213, "m")] {
                let outside = format!("{name}{card}{machine}");
                done &= ip(&format!("link add {outside} type veth peer name {card}0 netns {space}"));
                done &= ip(&format!("link set {outside} master {name}{switch} up"));
                done &= ip(&format!("-n {space} addr add 10.{net10}.{net}.{host}/24 dev {card}0"));
                done &= ip(&format!("-n {space} link set {card}0 up"));
            }
            done &= ip(&format!("-n {space} link set lo up"));
        }
        done
    }

    fn space(&self, machine: u8) -> String {
        format!("{}-{machine}", self.name)
    }

    /// Makes every machine's line slow and lossy; what was done to it, in words.
    ///
    /// # Panics
    /// Where nothing can be done to it.
    #[must_use]
    pub fn spoil_lines(&self) -> &'static str {
        let spoil = |how: &str| {
            (0..self.count).all(|machine| {
                let space = self.space(machine);
                run("ip", &format!("netns exec {space} tc qdisc replace dev p0 root {how}"))
            })
        };
        if spoil(NETEM) {
            return NETEM;
        }
        // This kernel was built without it.
        assert!(spoil(NARROW), "tc knows neither netem nor tbf");
        NARROW
    }

    /// The address at which a machine's peers reach it.
    #[must_use]
    pub fn peer_address(&self, machine: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.net, machine + 1)
    }

    /// The address at which this test reaches a machine.
    #[must_use]
    pub fn call_address(&self, machine: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.net, machine + 1)
    }

    /// The command that runs a node on a machine.
    #[must_use]
    pub fn node_command(&self, machine: u8, datadir: &Path) -> Command {
        let node = node_command(datadir);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(machine)]).arg(node.get_program()).args(node.get_args());
        for (name, value) in node.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Cuts the line between the switches.
    ///
    /// # Panics
    /// Where it cannot be cut.
    pub fn split(&self) {
        assert!(ip(&format!("link set {}x down", self.name)), "the line can be cut");
    }

    /// Joins the switches again.
    ///
    /// # Panics
    /// Where they cannot be joined.
    pub fn heal(&self) {
        assert!(ip(&format!("link set {}x up", self.name)), "the line can be joined");
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        // With a namespace go its cards. What was never made cannot go.
        for machine in 0..self.count {
            let _gone: bool = ip(&format!("netns del {}", self.space(machine)));
        }
        for part in ["l", "r", "m", "x"] {
            let _gone: bool = ip(&format!("link del {}{part}", self.name));
        }
    }
}
