#include <libpq-fe.h>

// What the poller of libpq's sockets needs and the Glibc module leaves out.
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

// Declared by <pthread.h> only under _GNU_SOURCE, which a module cannot ask for.
extern int pthread_setname_np(pthread_t thread, const char *name);
