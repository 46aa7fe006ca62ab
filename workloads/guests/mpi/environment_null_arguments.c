/*
 * Goal: MPI_Init takes null pointers, and main's arguments reach every rank unchanged.
 * Sizes: any number of ranks; run with the arguments "alpha" and "-n 3".
 * Expected: "ok environment_null_arguments".
 */
#include "check.h"

int main(int argc, char **argv)
{
    start(NULL, NULL, "environment_null_arguments");
    CHECK(argc == 3 && strcmp(argv[1], "alpha") == 0 && strcmp(argv[2], "-n 3") == 0);
    return finish();
}
