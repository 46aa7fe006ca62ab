/*
 * mpi-ext.h: what this MPI offers beyond the standard, under the names of Open MPI and MPICH.
 *
 * User-Level Failure Mitigation (ULFM). In a job that is run with `faasm-run --with-ft ulfm` a process that fails is an
 * error for those who need it, and the job goes on. Without that option a job ends with its first failed process.
 */
#ifndef MPI_EXT_H
#define MPI_EXT_H

#include "mpi.h"

#define OMPI_HAVE_MPI_EXT          1
#define OMPI_HAVE_MPI_EXT_FTMPI    1
#define OMPI_HAVE_MPI_EXT_ULFM     1

/* Error classes; the standard's own end at 62 */
#define MPIX_ERR_PROC_FAILED         201
#define MPIX_ERR_PROC_FAILED_PENDING 202
#define MPIX_ERR_REVOKED             203
#define MPI_ERR_PROC_FAILED          MPIX_ERR_PROC_FAILED
#define MPI_ERR_PROC_FAILED_PENDING  MPIX_ERR_PROC_FAILED_PENDING
#define MPI_ERR_REVOKED              MPIX_ERR_REVOKED

#if defined(__wasm__)
#define MPIX_ABI_IMPORT_(function) __attribute__((import_module("mpi"), import_name(#function)))
#else
#define MPIX_ABI_IMPORT_(function)
#endif
#define MPIX_ABI_DECLARE_(type, name, parameters) \
    type MPIX_##name parameters MPIX_ABI_IMPORT_(MPIX_##name); \
    type PMPIX_##name parameters MPIX_ABI_IMPORT_(MPIX_##name);

#ifdef __cplusplus
extern "C" {
#endif

MPIX_ABI_DECLARE_(int, Comm_revoke, (MPI_Comm comm))
MPIX_ABI_DECLARE_(int, Comm_is_revoked, (MPI_Comm comm, int *flag))
MPIX_ABI_DECLARE_(int, Comm_shrink, (MPI_Comm comm, MPI_Comm *newcomm))
MPIX_ABI_DECLARE_(int, Comm_ishrink, (MPI_Comm comm, MPI_Comm *newcomm, MPI_Request *request))
MPIX_ABI_DECLARE_(int, Comm_agree, (MPI_Comm comm, int *flag))
MPIX_ABI_DECLARE_(int, Comm_iagree, (MPI_Comm comm, int *flag, MPI_Request *request))
MPIX_ABI_DECLARE_(int, Comm_failure_ack, (MPI_Comm comm))
MPIX_ABI_DECLARE_(int, Comm_failure_get_acked, (MPI_Comm comm, MPI_Group *failedgrp))
MPIX_ABI_DECLARE_(int, Comm_get_failed, (MPI_Comm comm, MPI_Group *failedgrp))
MPIX_ABI_DECLARE_(int, Comm_ack_failed, (MPI_Comm comm, int num_to_ack, int *num_acked))

#ifdef __cplusplus
}
#endif

#undef MPIX_ABI_DECLARE_
#undef MPIX_ABI_IMPORT_

#endif
