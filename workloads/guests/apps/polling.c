/*
 * Goal: loops that only poll (MPI_Test, MPI_Iprobe, MPI_Testany) let the ranks they wait for run.
 * Sizes: any number of ranks.
 * Expected: "ok polling".
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size, token = 0, flag = 0, index = -1;
    MPI_Request request, requests[2];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    for (int round = 0; round < 3; round++) {
        if (rank == 0) MPI_Send(&round, 1, MPI_INT, next, round, MPI_COMM_WORLD);
        if (round == 0) {
            MPI_Irecv(&token, 1, MPI_INT, previous, round, MPI_COMM_WORLD, &request);
            for (flag = 0; !flag;) MPI_Test(&request, &flag, MPI_STATUS_IGNORE);
        } else if (round == 1) {
            for (flag = 0; !flag;) MPI_Iprobe(previous, round, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
            MPI_Recv(&token, 1, MPI_INT, previous, round, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            requests[0] = MPI_REQUEST_NULL;
            MPI_Irecv(&token, 1, MPI_INT, previous, round, MPI_COMM_WORLD, &requests[1]);
            for (flag = 0; !flag;) MPI_Testany(2, requests, &index, &flag, MPI_STATUS_IGNORE);
        }
        if (token != round) MPI_Abort(MPI_COMM_WORLD, 3);
        if (rank != 0) MPI_Send(&token, 1, MPI_INT, next, round, MPI_COMM_WORLD);
    }
    if (rank == 0) printf("ok polling\n");
    MPI_Finalize();
    return 0;
}
