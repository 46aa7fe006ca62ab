/*
 * Goal: ranks that end while others go on: those but the first do not use MPI for long, through sessions of their own.
 * Run: three ranks; the first one waits for the file "go".
 * Output: "rank 0 ends"; the last rank has exit code 3.
 */
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>

enum { WAIT_US = 1000 };

static void told(int rank)
{
    char name[32];
    snprintf(name, sizeof name, "ended-%d", rank);
    FILE *file = fopen(name, "w");
    if (file != NULL) fclose(file);
}

int main(void)
{
    MPI_Session session;
    MPI_Group group;
    MPI_Comm self;
    int rank, size;
    MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_ARE_FATAL, &session);
    MPI_Group_from_session_pset(session, "mpi://WORLD", &group);
    MPI_Group_rank(group, &rank);
    MPI_Group_size(group, &size);
    MPI_Group_free(&group);
    MPI_Group_from_session_pset(session, "mpi://SELF", &group);
    MPI_Comm_create_from_group(group, "alone", MPI_INFO_NULL, MPI_ERRORS_ARE_FATAL, &self);
    while (rank == 0 && access("go", F_OK) != 0) {
        usleep(WAIT_US);
        MPI_Barrier(self);
    }
    if (rank == 0) puts("rank 0 ends");
    MPI_Group_free(&group);
    MPI_Comm_free(&self);
    MPI_Session_finalize(&session);
    if (rank != 0) told(rank);
    return rank == size - 1 ? 3 : 0;
}
