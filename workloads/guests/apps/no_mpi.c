/*
 * Goal: a program without MPI is run as many times as there are ranks, as mpirun does.
 * Sizes: any number of ranks.
 * Expected: the line "plain" from each, status 0.
 */
#include <stdio.h>

int main(void)
{
    puts("plain");
    return 0;
}
