//! Switch points: functions at which a rank's stack may be taken, because they may have to wait.
//!
//! A program that can be moved is slower where it calls these, so functions that only look something up or
//! describe something are not among them. All functions in which a rank may wait for others are, and those with which a
//! program may poll: at each of them a checkpoint can be made.

/// What a switch point's name starts with, behind `MPI_`.
const PREFIXES: [&str; 64] = [
    "Allgather",
    "Allreduce",
    "Alltoall",
    "Barrier",
    "Bcast",
    "Exscan",
    "Gather",
    "Mprobe",
    "Mrecv",
    "Neighbor_",
    "Probe",
    "Recv",
    "Reduce",
    "Rsend",
    "Scan",
    "Scatter",
    "Send",
    "Ssend",
    "Test",
    "Wait",
    "Improbe",
    "Iprobe",
    "Parrived",
    "Request_get_status",
    "Finalize",
    "Session_finalize",
    "Comm_create",
    "Comm_disconnect",
    "Comm_dup",
    "Comm_free",
    "Comm_split",
    "Intercomm_create",
    "Intercomm_merge",
    "Cart_create",
    "Cart_sub",
    "Dist_graph_create",
    "Graph_create",
    "Win_allocate",
    "Win_complete",
    "Win_create",
    "Win_fence",
    "Win_flush",
    "Win_free",
    "Win_lock",
    "Win_start",
    "Win_sync",
    "Win_test",
    "Win_unlock",
    "Win_wait",
    "File_close",
    "File_open",
    "File_preallocate",
    "File_read_all",
    "File_read_at_all",
    "File_read_ordered",
    "File_seek_shared",
    "File_set_atomicity",
    "File_set_info",
    "File_set_size",
    "File_set_view",
    "File_sync",
    "File_write_all",
    "File_write_at_all",
    "File_write_ordered",
];

/// Names that start like a switch point's, and are none.
const OTHERS: [&str; 13] = [
    "Reduce_local",
    "Test_cancelled",
    "Send_init",
    "Recv_init",
    "Ssend_init",
    "Rsend_init",
    "Finalized",
    "Comm_create_errhandler",
    "Comm_create_keyval",
    "Comm_free_keyval",
    "Win_create_errhandler",
    "Win_create_keyval",
    "Win_free_keyval",
];

/// Names this list: programs that were made migratable with another one are made anew.
pub const VERSION: u32 = hash(&OTHERS, hash(&PREFIXES, 0x811c_9dc5));

/// FNV-1a of the names, each with its end.
const fn hash(names: &[&str], mut hash: u32) -> u32 {
    let mut number = 0;
    while number < names.len() {
        let name = names[number].as_bytes();
        let mut byte = 0;
        while byte <= name.len() {
            let value = if byte < name.len() { name[byte] } else { 0 };
            hash = (hash ^ value as u32).wrapping_mul(0x0100_0193);
            byte += 1;
        }
        number += 1;
    }
    hash
}

/// Whether the host function `name`, or its profiling twin, is a switch point.
pub const fn is_switch_point(name: &str) -> bool {
    let name = name.as_bytes();
    let at = match name {
        [b'M', b'P', b'I', b'_', ..] => 4,
        [b'P', b'M', b'P', b'I', b'_', ..] => 5,
        _ => return false,
    };
    if ends_with(name, b"_init") || ends_with(name, b"_init_c") {
        return false;
    }
    !starts_with_any(name, at, &OTHERS) && starts_with_any(name, at, &PREFIXES)
}

const fn starts_with_any(name: &[u8], at: usize, prefixes: &[&str]) -> bool {
    let mut number = 0;
    while number < prefixes.len() {
        if starts_with(name, at, prefixes[number].as_bytes()) {
            return true;
        }
        number += 1;
    }
    false
}

const fn starts_with(name: &[u8], at: usize, prefix: &[u8]) -> bool {
    let mut byte = 0;
    while byte < prefix.len() {
        if at + byte >= name.len() || name[at + byte] != prefix[byte] {
            return false;
        }
        byte += 1;
    }
    true
}

const fn ends_with(name: &[u8], suffix: &[u8]) -> bool {
    name.len() >= suffix.len() && starts_with(name, name.len() - suffix.len(), suffix)
}

#[cfg(test)]
mod tests {
    use super::is_switch_point;

    #[test]
    fn waiting_functions_are_switch_points() {
        for name in [
            "MPI_Recv",
            "PMPI_Recv",
            "MPI_Send_c",
            "MPI_Sendrecv",
            "MPI_Waitall",
            "MPI_Testsome",
            "MPI_Allreduce",
            "MPI_Iprobe",
            "MPI_Improbe",
            "MPI_Reduce_scatter_block",
            "MPI_Scatterv_c",
            "MPI_Comm_split_type",
            "MPI_Win_lock_all",
            "MPI_File_write_at_all_begin_c",
            "MPI_Request_get_status_any",
        ] {
            assert!(is_switch_point(name), "{name}");
        }
        for name in [
            "MPI_Comm_rank",
            "MPI_Finalized",
            "MPI_Win_create_keyval",
            "MPI_Type_commit",
            "MPI_Isend",
            "MPI_Allreduce_init",
            "MPI_Recv_init",
            "MPI_Barrier_init",
            "MPI_Bcast_init_c",
            "MPI_Reduce_local",
            "MPI_Test_cancelled",
            "MPI_Wtime",
            "MPI_",
            "fd_write",
        ] {
            assert!(!is_switch_point(name), "{name}");
        }
    }

    #[test]
    fn all_prefixes_name_functions() {
        let names: Vec<&str> = crate::functions().map(|function| function.name).collect();
        for prefix in super::PREFIXES.iter().chain(&super::OTHERS) {
            let begins = |name: &&str| {
                name.strip_prefix("MPI_").is_some_and(|rest| rest.starts_with(prefix))
            };
            assert!(names.iter().any(begins), "{prefix}");
        }
    }
}
