/*
 * Goal: MPI_Init_thread provides the level asked for, or says which one it has.
 * Sizes: any number of ranks; the argument is the level asked for, 0 (single) to 3 (multiple).
 * Expected: "ok environment_thread".
 */
#include "check.h"

int main(int argc, char **argv)
{
    static const int levels[] = {MPI_THREAD_SINGLE, MPI_THREAD_FUNNELED, MPI_THREAD_SERIALIZED,
                                 MPI_THREAD_MULTIPLE};
    int asked = levels[argc > 1 ? atoi(argv[1]) : 3], provided = -1, queried = -2, main_thread = 0, sum = 0;
    MPI_Init_thread(&argc, &argv, asked, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Query_thread(&queried);
    CHECK(provided == queried);
    CHECK(provided == MPI_THREAD_SINGLE || provided == MPI_THREAD_FUNNELED || provided == MPI_THREAD_SERIALIZED ||
          provided == MPI_THREAD_MULTIPLE);
    MPI_Is_thread_main(&main_thread);
    CHECK(main_thread == 1);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    CHECK(sum == size * (size - 1) / 2);
    if (rank == 0) printf("ok environment_thread\n");
    MPI_Finalize();
    return 0;
}
