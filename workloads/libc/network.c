/* Sockets and host names, of which a guest has none. */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#define FAIL(error) (errno = (error), -1)

__attribute__((weak)) int h_errno;

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

int socket(int family, int type, int protocol) {
    (void)family, (void)type, (void)protocol;
    return FAIL(ENOSYS);
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
    (void)fd, (void)address, (void)size;
    return FAIL(ENOSYS);
}

int bind(int fd, const struct sockaddr *address, socklen_t size) {
    (void)fd, (void)address, (void)size;
    return FAIL(ENOSYS);
}

int listen(int fd, int backlog) {
    (void)fd, (void)backlog;
    return FAIL(ENOSYS);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t size) {
    (void)fd, (void)level, (void)option, (void)value, (void)size;
    return FAIL(ENOSYS);
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict size) {
    (void)fd, (void)address, (void)size;
    return FAIL(ENOSYS);
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict size) {
    (void)fd, (void)address, (void)size;
    return FAIL(ENOSYS);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address,
               socklen_t address_size) {
    (void)fd, (void)data, (void)size, (void)flags, (void)address, (void)address_size;
    return FAIL(ENOSYS);
}

ssize_t recvfrom(int fd, void *restrict data, size_t size, int flags,
                 struct sockaddr *restrict address, socklen_t *restrict address_size) {
    (void)fd, (void)data, (void)size, (void)flags, (void)address, (void)address_size;
    return FAIL(ENOSYS);
}

struct hostent *gethostbyname(const char *name) {
    (void)name;
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict result) {
    (void)node, (void)service, (void)hints, (void)result;
    return EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *list) { (void)list; }

const char *gai_strerror(int error) {
    return error ? "guests have no network; ranks talk through MPI" : "success";
}

#pragma clang attribute pop
