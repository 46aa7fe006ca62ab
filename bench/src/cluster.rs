//! Who runs on several hosts, and how: launch lines and settings for the hosts of a lab.

use std::path::Path;
use std::process::Command;

use crate::lab::Lab;
use crate::rivals::{DEFAULT, Runner, Toolbox, Variant, When};

/// The command that runs `program` with `np` ranks, evenly on all hosts of the lab.
pub(crate) fn launch(
    tools: &Toolbox,
    lab: &Lab,
    runner: Runner,
    variant: &Variant,
    np: u32,
    program: &Path,
) -> Command {
    let (np, hosts, agent) = (np.to_string(), lab.hosts(np), lab.agent());
    let mut command = lab.on_first_host();
    command.envs(variant.environment.iter().copied());
    match runner {
        Runner::Faasm => {
            command.arg(&tools.faasm_run);
            command.args(["--host", &hosts, "--launcher", "ssh", "--launcher-exec", agent]);
        }
        Runner::OpenMpi => {
            command.arg("mpirun.openmpi").args(OPEN_MPI_ALWAYS);
            command.args(["--mca", "plm_rsh_agent", agent, "--host", &hosts]);
        }
        Runner::Mpich => {
            command.args(["mpirun.mpich", "-iface", INTERFACE]);
            command.args(["-launcher", "ssh", "-launcher-exec", agent, "-hosts", &hosts]);
        }
        Runner::Serial | Runner::Libgomp | Runner::Libomp => {}
    }
    command.args(variant.arguments);
    if runner != Runner::Serial {
        command.args(["-n", &np]);
    }
    command.arg(program);
    command
}

/// The settings worth trying on the hosts of a lab, which share `cores` cores, the defaults first.
pub(crate) fn variants(runner: Runner, np: u32, cores: u32) -> Vec<&'static Variant> {
    let all: &'static [Variant] = match runner {
        Runner::OpenMpi => OPEN_MPI,
        Runner::Mpich => MPICH,
        Runner::Faasm => FAASM,
        Runner::Serial | Runner::Libgomp | Runner::Libomp => DEFAULTS,
    };
    all.iter().filter(|variant| variant.suits(np, cores)).collect()
}

/// The name of each host's interface.
const INTERFACE: &str = "eth0";

/// Without `--bind-to none` the ranks of all hosts would be bound to the first cores of this one machine.
const OPEN_MPI_ALWAYS: &[&str] = &[
    "--allow-run-as-root",
    "--oversubscribe",
    "--bind-to",
    "none",
    "--mca",
    "btl_tcp_if_include",
    INTERFACE,
    "--mca",
    "oob_tcp_if_include",
    INTERFACE,
];

const DEFAULTS: &[Variant] = &[DEFAULT];

/// Each host believes that it has all cores of this machine; half of them are its share.
const FAASM: &[Variant] = &[
    DEFAULT,
    Variant {
        name: "one worker a host",
        arguments: &["--workers", "1"],
        environment: &[],
        when: When::Always,
    },
];

const OPEN_MPI: &[Variant] = &[
    DEFAULT,
    Variant {
        name: "mpi_yield_when_idle 1",
        arguments: &["--mca", "mpi_yield_when_idle", "1"],
        environment: &[],
        when: When::Oversubscribed,
    },
    Variant {
        name: "larger eager and send sizes of btl tcp",
        arguments: &[
            "--mca",
            "btl_tcp_eager_limit",
            "131072",
            "--mca",
            "btl_tcp_max_send_size",
            "1048576",
        ],
        environment: &[],
        when: When::Fits,
    },
    Variant {
        name: "btl_tcp_links 4",
        arguments: &["--mca", "btl_tcp_links", "4"],
        environment: &[],
        when: When::Fits,
    },
];

const MPICH: &[Variant] = &[
    DEFAULT,
    Variant {
        name: "UCX over TCP only",
        arguments: &[],
        environment: &[("UCX_TLS", "tcp,self")],
        when: When::Always,
    },
    Variant {
        name: "UCX over TCP only, segments of 64 KiB",
        arguments: &[],
        environment: &[
            ("UCX_TLS", "tcp,self"),
            ("UCX_TCP_TX_SEG_SIZE", "64k"),
            ("UCX_TCP_RX_SEG_SIZE", "64k"),
        ],
        when: When::Fits,
    },
    Variant {
        name: "UCX over TCP only, yields after each poll",
        arguments: &[],
        environment: &[("UCX_TLS", "tcp,self"), ("MPIR_CVAR_POLLS_BEFORE_YIELD", "1")],
        when: When::Oversubscribed,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_come_first_and_yielding_is_for_many_ranks() {
        for runner in [Runner::OpenMpi, Runner::Mpich] {
            for np in [2, 32] {
                let variants = variants(runner, np, 2);
                assert_eq!(variants[0].name, "");
                let yields = variants.iter().any(|variant| variant.name.contains("yield"));
                assert_eq!(yields, np == 32, "{runner:?} {np}");
            }
        }
    }
}
