//! Predefined handles other than datatypes: small integers, all below 1024.

constants! {
    // Communicators.
    MPI_COMM_NULL = 0x100;
    MPI_COMM_WORLD = 0x101;
    MPI_COMM_SELF = 0x102;

    // Groups.
    MPI_GROUP_NULL = 0x108;
    MPI_GROUP_EMPTY = 0x109;

    // Reduction operators.
    MPI_OP_NULL = 0x20;
    MPI_SUM = 0x21;
    MPI_MIN = 0x22;
    MPI_MAX = 0x23;
    MPI_PROD = 0x24;
    MPI_BAND = 0x28;
    MPI_BOR = 0x29;
    MPI_BXOR = 0x2a;
    MPI_LAND = 0x30;
    MPI_LOR = 0x31;
    MPI_LXOR = 0x32;
    MPI_MINLOC = 0x38;
    MPI_MAXLOC = 0x39;
    MPI_REPLACE = 0x3c;
    MPI_NO_OP = 0x3d;

    // Error handlers.
    MPI_ERRHANDLER_NULL = 0x140;
    MPI_ERRORS_ARE_FATAL = 0x141;
    MPI_ERRORS_ABORT = 0x142;
    MPI_ERRORS_RETURN = 0x143;

    // Requests.
    MPI_REQUEST_NULL = 0x180;

    // Matched messages.
    MPI_MESSAGE_NULL = 0x128;
    MPI_MESSAGE_NO_PROC = 0x129;

    // Info objects.
    MPI_INFO_NULL = 0x130;
    MPI_INFO_ENV = 0x131;

    // Files, windows and sessions.
    MPI_FILE_NULL = 0x118;
    MPI_WIN_NULL = 0x110;
    MPI_SESSION_NULL = 0x120;
}
