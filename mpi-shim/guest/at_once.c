/*
 * Calls that need not wait, made without what the host does for those that wait.
 *
 * Each function here imports the host function twice: once as one that must not wait, which returns -1 where it
 * would have to and has then done nothing that may not be done again, and once as the one that does. FAILED says that the
 * program's own error handler is to be called, which only a function that may wait can do.
 *
 * Puts and gets may come back as SETTLED: all that this rank began with the target is complete. The flush that
 * follows is then left out, unless the epoch has ended before.
 *
 * The definitions are weak: a profiling layer's MPI_Send wins, and finds PMPI_Send here. A program that is linked
 * without this library imports the functions themselves, and works as well.
 */
#include <mpi.h>

#define FAILED (-2)
#define SETTLED (-3)

#define IMPORT(name) __attribute__((import_module("mpi"), import_name(name)))

int faasm_mpi_raise(void) IMPORT("at_once.raise");

/* The target whose next flush has nothing to do, if it is a rank; and its window. */
static int settled_rank = -1;
static MPI_Win settled_win;

#define DEFINE(name, parameters, body) \
    int faasm_mpi_##name parameters IMPORT("MPI_" #name); \
    __attribute__((weak)) int MPI_##name parameters body \
    __attribute__((weak)) int PMPI_##name parameters body

#define DEFINE_AT_ONCE(name, parameters, body) \
    int faasm_at_once_##name parameters IMPORT("at_once.MPI_" #name); \
    DEFINE(name, parameters, body)

#define AT_ONCE(name, parameters, arguments) \
    DEFINE_AT_ONCE(name, parameters, { CALL(name, arguments, ) })

#define AT_ONCE_SETTLING(name, parameters, arguments) \
    DEFINE_AT_ONCE(name, parameters, { CALL(name, arguments, SETTLE(target_rank, win)) })

#define AT_ONCE_UNLESS_SETTLED(name, parameters, arguments) \
    DEFINE_AT_ONCE(name, parameters, { SKIP_SETTLED(rank, win) CALL(name, arguments, ) })

#define UNSETTLING(name, parameters, arguments) \
    DEFINE(name, parameters, { settled_rank = -1; return faasm_mpi_##name arguments; })

#define CALL(name, arguments, settle) \
    int code = faasm_at_once_##name arguments; \
    settle \
    if (__builtin_expect(code >= 0, 1)) { \
        return code; \
    } \
    return code == FAILED ? faasm_mpi_raise() : faasm_mpi_##name arguments;

#define SETTLE(rank, win) \
    if (__builtin_expect(code == SETTLED, 1)) { \
        settled_rank = rank; \
        settled_win = win; \
        return MPI_SUCCESS; \
    }

#define SKIP_SETTLED(rank, win) \
    if (rank >= 0 && rank == settled_rank && win == settled_win) { \
        settled_rank = -1; \
        return MPI_SUCCESS; \
    }

AT_ONCE(Comm_size, (MPI_Comm comm, int *size), (comm, size))
AT_ONCE(Comm_rank, (MPI_Comm comm, int *rank), (comm, rank))
AT_ONCE(Get_count, (const MPI_Status *status, MPI_Datatype datatype, int *count), (status, datatype, count))
AT_ONCE(Type_size, (MPI_Datatype datatype, int *size), (datatype, size))
AT_ONCE(Send, (const void *buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm), (buf, count,
    datatype, dest, tag, comm))
AT_ONCE(Recv, (void *buf, int count, MPI_Datatype datatype, int source, int tag, MPI_Comm comm, MPI_Status *status),
    (buf, count, datatype, source, tag, comm, status))
AT_ONCE(Isend, (const void *buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm, MPI_Request
    *request), (buf, count, datatype, dest, tag, comm, request))
AT_ONCE(Ibsend, (const void *buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm, MPI_Request
    *request), (buf, count, datatype, dest, tag, comm, request))
AT_ONCE(Issend, (const void *buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm, MPI_Request
    *request), (buf, count, datatype, dest, tag, comm, request))
AT_ONCE(Irsend, (const void *buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm, MPI_Request
    *request), (buf, count, datatype, dest, tag, comm, request))
AT_ONCE(Irecv, (void *buf, int count, MPI_Datatype datatype, int source, int tag, MPI_Comm comm, MPI_Request
    *request), (buf, count, datatype, source, tag, comm, request))
AT_ONCE(Start, (MPI_Request *request), (request))
AT_ONCE(Startall, (int count, MPI_Request array_of_requests[]), (count, array_of_requests))
AT_ONCE(Wait, (MPI_Request *request, MPI_Status *status), (request, status))
AT_ONCE(Waitall, (int count, MPI_Request array_of_requests[], MPI_Status *array_of_statuses), (count,
    array_of_requests, array_of_statuses))
AT_ONCE(Waitany, (int count, MPI_Request array_of_requests[], int *indx, MPI_Status *status), (count,
    array_of_requests, indx, status))
AT_ONCE(Waitsome, (int incount, MPI_Request array_of_requests[], int *outcount, int array_of_indices[], MPI_Status
    *array_of_statuses), (incount, array_of_requests, outcount, array_of_indices, array_of_statuses))
AT_ONCE(Test, (MPI_Request *request, int *flag, MPI_Status *status), (request, flag, status))
AT_ONCE(Testall, (int count, MPI_Request array_of_requests[], int *flag, MPI_Status *array_of_statuses), (count,
    array_of_requests, flag, array_of_statuses))
AT_ONCE(Testany, (int count, MPI_Request array_of_requests[], int *indx, int *flag, MPI_Status *status), (count,
    array_of_requests, indx, flag, status))
AT_ONCE(Testsome, (int incount, MPI_Request array_of_requests[], int *outcount, int array_of_indices[], MPI_Status
    *array_of_statuses), (incount, array_of_requests, outcount, array_of_indices, array_of_statuses))
AT_ONCE(Probe, (int source, int tag, MPI_Comm comm, MPI_Status *status), (source, tag, comm, status))
AT_ONCE(Iprobe, (int source, int tag, MPI_Comm comm, int *flag, MPI_Status *status), (source, tag, comm, flag,
    status))
AT_ONCE_SETTLING(Put, (const void *origin_addr, int origin_count, MPI_Datatype origin_datatype, int target_rank, MPI_Aint
    target_disp, int target_count, MPI_Datatype target_datatype, MPI_Win win), (origin_addr, origin_count,
    origin_datatype, target_rank, target_disp, target_count, target_datatype, win))
AT_ONCE_SETTLING(Get, (void *origin_addr, int origin_count, MPI_Datatype origin_datatype, int target_rank, MPI_Aint
    target_disp, int target_count, MPI_Datatype target_datatype, MPI_Win win), (origin_addr, origin_count,
    origin_datatype, target_rank, target_disp, target_count, target_datatype, win))
AT_ONCE(Rput, (const void *origin_addr, int origin_count, MPI_Datatype origin_datatype, int target_rank, MPI_Aint
    target_disp, int target_count, MPI_Datatype target_datatype, MPI_Win win, MPI_Request *request), (origin_addr,
    origin_count, origin_datatype, target_rank, target_disp, target_count, target_datatype, win, request))
AT_ONCE(Rget, (void *origin_addr, int origin_count, MPI_Datatype origin_datatype, int target_rank, MPI_Aint
    target_disp, int target_count, MPI_Datatype target_datatype, MPI_Win win, MPI_Request *request), (origin_addr,
    origin_count, origin_datatype, target_rank, target_disp, target_count, target_datatype, win, request))
AT_ONCE(Accumulate, (const void *origin_addr, int origin_count, MPI_Datatype origin_datatype, int target_rank,
    MPI_Aint target_disp, int target_count, MPI_Datatype target_datatype, MPI_Op op, MPI_Win win), (origin_addr,
    origin_count, origin_datatype, target_rank, target_disp, target_count, target_datatype, op, win))
AT_ONCE(Get_accumulate, (const void *origin_addr, int origin_count, MPI_Datatype origin_datatype, void *result_addr,
    int result_count, MPI_Datatype result_datatype, int target_rank, MPI_Aint target_disp, int target_count,
    MPI_Datatype target_datatype, MPI_Op op, MPI_Win win), (origin_addr, origin_count, origin_datatype, result_addr,
    result_count, result_datatype, target_rank, target_disp, target_count, target_datatype, op, win))
AT_ONCE(Fetch_and_op, (const void *origin_addr, void *result_addr, MPI_Datatype datatype, int target_rank, MPI_Aint
    target_disp, MPI_Op op, MPI_Win win), (origin_addr, result_addr, datatype, target_rank, target_disp, op, win))
AT_ONCE(Compare_and_swap, (const void *origin_addr, const void *compare_addr, void *result_addr, MPI_Datatype
    datatype, int target_rank, MPI_Aint target_disp, MPI_Win win), (origin_addr, compare_addr, result_addr,
    datatype, target_rank, target_disp, win))
AT_ONCE_UNLESS_SETTLED(Win_flush, (int rank, MPI_Win win), (rank, win))
AT_ONCE(Win_flush_all, (MPI_Win win), (win))
AT_ONCE_UNLESS_SETTLED(Win_flush_local, (int rank, MPI_Win win), (rank, win))
AT_ONCE(Win_flush_local_all, (MPI_Win win), (win))

UNSETTLING(Win_unlock, (int rank, MPI_Win win), (rank, win))
UNSETTLING(Win_unlock_all, (MPI_Win win), (win))
UNSETTLING(Win_free, (MPI_Win *win), (win))
