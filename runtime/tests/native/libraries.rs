//! The native MPI libraries, and what each of them cannot be asked about.

use std::process::Command;

/// Programs that say other things under every library: erroneous ones whose members call different things, where the
/// standard leaves open what happens and libraries wait for ever; and one with data representations of its own,
/// which neither library can use.
const NOWHERE: [&str; 3] = ["collective_disagreement", "communicator_misuse", "file_datarep"];

/// A guest that a library is not asked about, and why.
type Excuse = (&'static str, &'static str);

/// A native MPI library.
pub(crate) struct Library {
    pub(crate) c_compiler: &'static str,
    pub(crate) cxx_compiler: &'static str,
    /// Its launcher with `np` ranks, without the program.
    pub(crate) launcher: fn(np: u32, seconds: u32) -> Command,
    /// Guests that cannot be built with it, and a name of the standard that it does not have.
    lacks: &'static [Excuse],
    /// Guests that it does not run as the standard says, and what it does.
    deviates: &'static [Excuse],
}

impl Library {
    /// Whether a program is run with it.
    pub(crate) fn is_asked(&self, guest: &str) -> bool {
        !NOWHERE.contains(&guest) && !self.deviates.iter().any(|(name, _)| *name == guest)
    }

    /// The name that is missing, for a guest that cannot be built.
    pub(crate) fn lacks(&self, guest: &str) -> Option<&'static str> {
        self.lacks.iter().find(|(name, _)| *name == guest).map(|(_, lacking)| *lacking)
    }

    /// All guests that are named here.
    pub(crate) fn named(&self) -> impl Iterator<Item = &'static str> {
        let excused = self.lacks.iter().chain(self.deviates).map(|(name, _)| *name);
        excused.chain(NOWHERE)
    }
}

/// MPICH 4.0, as Debian builds it.
pub(crate) const MPICH: Library = Library {
    c_compiler: "mpicc.mpich",
    cxx_compiler: "mpicxx.mpich",
    launcher: |np, seconds| {
        let mut command = Command::new("mpiexec.mpich");
        // Killed from outside, it would leave its ranks behind.
        command.env("MPIEXEC_TIMEOUT", seconds.to_string());
        command.args(["-n", &np.to_string()]);
        command
    },
    lacks: &[],
    deviates: &[
        ("dynamic_connect", "cannot connect over UCX"),
        ("dynamic_lives", "cannot spawn over UCX"),
        ("dynamic_spawn", "cannot spawn over UCX"),
        ("dynamic_spread", "cannot spawn over UCX"),
        (
            "session_beside_init",
            "its launcher now and then kills ranks that end after MPI_Finalize",
        ),
        ("ulfm_calls", "declares the functions of ULFM and does not implement them"),
    ],
};

/// Open MPI 4.1, which has MPI 3.1.
pub(crate) const OPEN_MPI: Library = Library {
    c_compiler: "mpicc.openmpi",
    cxx_compiler: "mpicxx.openmpi",
    launcher: |np, seconds| {
        // It does not always end by its own limit.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &(seconds + 5).to_string(), "mpirun.openmpi"]);
        command.args(["--allow-run-as-root", "--oversubscribe", "--timeout", &seconds.to_string()]);
        command.args(["-n", &np.to_string()]);
        command
    },
    lacks: &[
        ("collective_large_counts", "MPI_Bcast_c"),
        ("collective_neighbor", "MPI_Neighbor_alltoall_init"),
        ("collective_neighbor_large_counts", "MPI_Neighbor_allgather_c"),
        ("collective_operator_started", "MPI_Allreduce_init"),
        ("collective_persistent", "MPI_Barrier_init"),
        ("communicator_create", "MPI_Comm_idup_with_info"),
        ("datatype_arrays", "MPI_Type_create_subarray_c"),
        ("datatype_external", "MPI_Pack_external_c"),
        ("datatype_large_counts", "MPI_Type_get_extent_c"),
        ("intercomm_nonblocking", "MPI_Bcast_init"),
        ("old_names", "MPI_F_TAG"),
        ("partitioned", "MPI_Psend_init"),
        ("point_to_point_large_counts", "MPI_Send_c"),
        ("session_beside_init", "MPI_Session"),
        ("tool_events", "MPI_T_event_registration"),
        ("tool_variables", "MPI_T_category_get_events"),
        ("ulfm_calls", "MPIX_ERR_REVOKED"),
    ],
    deviates: &[
        ("collective_nonblocking", "crashes when a communicator is freed under a collective"),
        ("datatype_misuse", "makes types whose extent has no number"),
        ("dynamic_connect", "hangs from three ranks on"),
        ("environment_basics", "counts the terminator of MPI_Get_library_version's string"),
        ("file_manage", "MPI_SEEK_END leads to another place of a view with gaps"),
        ("file_merge", "counts what was asked for in a status, also where a file ends before"),
        ("misuse_null", "notices few null pointers"),
        ("rma_fence", "windows have a name from the beginning"),
        ("rma_passive", "does not lock MPI_PROC_NULL"),
        ("rma_shared", "rounds sizes of shared windows up to pages"),
        ("topology_cartesian", "MPI_Cart_map gives places that the topology does not have"),
        ("topology_graph", "MPI_Graph_map gives places that the topology does not have"),
    ],
};
