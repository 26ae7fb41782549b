/// The arguments of the process, for Swift's runtime, which asks for them by these names.
char **_swift_stdlib_getUnsafeArgvArgc(int *argc);
void _swift_stdlib_overrideUnsafeArgvArgc(char **argv, int argc);
