/* Floating-point traps, which the machine lacks, and the time zone, which is UTC. */
#include <errno.h>
#include <fenv.h>
#include <sys/time.h>
#include <time.h>

static char utc[] = "UTC";
__attribute__((weak)) char *tzname[2] = {utc, utc};
__attribute__((weak)) int daylight;
__attribute__((weak)) long timezone;

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

/* WebAssembly has no traps to enable; disabling what is off is easy. */
int feenableexcept(int exceptions) { return exceptions ? -1 : 0; }

int fedisableexcept(int exceptions) {
    (void)exceptions;
    return 0;
}

int fegetexcept(void) { return 0; }

void tzset(void) {}

#pragma clang attribute pop
