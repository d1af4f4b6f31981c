/* Preloaded into a process and its children: writes down and refuses every attempt to reach another machine.
 *
 *     gcc -shared -fPIC -o outside.so outside.c -ldl;  OUTSIDE_LOG=file LD_PRELOAD=./outside.so program
 *
 * Looking a name up counts as an attempt. The log has one line for each: process, call, address or name.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void note(const char *call, const char *where) {
    int log = open(getenv("OUTSIDE_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    dprintf(log, "%d %s %s\n", (int)getpid(), call, where);
    close(log);
}

static int is_outside(const char *call, const struct sockaddr *to) {
    char text[INET6_ADDRSTRLEN] = "";
    if (to && to->sa_family == AF_INET) {
        const struct in_addr *address = &((const struct sockaddr_in *)to)->sin_addr;
        if (ntohl(address->s_addr) >> 24 == 127 || address->s_addr == INADDR_ANY) return 0;
        inet_ntop(AF_INET, address, text, sizeof text);
    } else if (to && to->sa_family == AF_INET6) {
        const struct in6_addr *address = &((const struct sockaddr_in6 *)to)->sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address)) return 0;
        if (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127) return 0;
        inet_ntop(AF_INET6, address, text, sizeof text);
    } else {
        return 0; /* a connected socket, or one that stays on this machine */
    }
    note(call, text);
    errno = ENETUNREACH;
    return 1;
}

static int is_foreign(const char *call, const char *name) {
    unsigned char address[16];
    if (!name || !strcmp(name, "localhost")) return 0;
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) return 0; /* no look-up */
    note(call, name);
    return 1;
}

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    return is_outside("connect", to) ? -1 : REAL(connect)(fd, to, size);
}

ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to, socklen_t size) {
    return is_outside("sendto", to) ? -1 : REAL(sendto)(fd, data, n, flags, to, size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    return is_outside("sendmsg", message->msg_name) ? -1 : REAL(sendmsg)(fd, message, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags) {
    for (unsigned i = 0; i < n; i++)
        if (is_outside("sendmmsg", messages[i].msg_hdr.msg_name)) return -1;
    return REAL(sendmmsg)(fd, messages, n, flags);
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    return is_foreign("getaddrinfo", name) ? EAI_FAIL : REAL(getaddrinfo)(name, port, hints, found);
}

struct hostent *gethostbyname(const char *name) {
    return is_foreign("gethostbyname", name) ? NULL : REAL(gethostbyname)(name);
}

int gethostbyname_r(const char *name, struct hostent *into, char *room, size_t n, struct hostent **found, int *error) {
    if (!is_foreign("gethostbyname_r", name)) return REAL(gethostbyname_r)(name, into, room, n, found, error);
    *found = NULL, *error = NO_RECOVERY;
    return 0;
}
