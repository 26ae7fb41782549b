#include "CArguments.h"

// Swift's runtime (6.3, CommandLine.cpp) finds the arguments of a process by reading /proc/self/maps before main, which
// takes as long as a thirtieth of `migrate version`. The C library hands them to constructors. A program that has these two
// functions of its own does not take the runtime's from its archive (docs/decisions/0026).

static int count;
static char **arguments;

__attribute__((constructor)) static void take(int argc, char **argv) {
    count = argc;
    arguments = argv;
}

char **_swift_stdlib_getUnsafeArgvArgc(int *argc) {
    *argc = count;
    return arguments;
}

void _swift_stdlib_overrideUnsafeArgvArgc(char **argv, int argc) {
    arguments = argv;
    count = argc;
}
