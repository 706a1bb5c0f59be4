/*
 * loopback: send data over TCP to oneself, through the network stack and back, on 127.0.0.1.
 *
 * A load of the kernel, for the comparison of kernels with and without PREEMPT_RT: each packet goes down one socket, through
 * the loopback device's software interrupt and up another socket, all on the core that the program runs on.
 *
 *   rtvirt-loopback [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#define _POSIX_C_SOURCE 200809L
#include "workload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

enum { SMALL_BYTES = 1 << 20, LARGE_BYTES = 8 << 20, PIECE_BYTES = 64 << 10 };

static uint32_t sent[LARGE_BYTES / sizeof(uint32_t)], received[LARGE_BYTES / sizeof(uint32_t)];
static size_t bytes;
static int sender, receiver;

static void refuse(const char *what)
{
    workload_refuse("the loopback network cannot be used (%s): %s.", what, strerror(errno));
}

static void setup(enum workload_size size, uint32_t seed)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET; /* port 0: any that is free */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bytes = size == SMALL ? SMALL_BYTES : LARGE_BYTES;
    for (size_t i = 0; i < bytes / sizeof sent[0]; i++)
        sent[i] = random_next(&seed);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        refuse("listen");
    sender = socket(AF_INET, SOCK_STREAM, 0);
    if (sender < 0 || connect(sender, (struct sockaddr *)&address, sizeof address))
        refuse("connect");
    receiver = accept(listener, NULL, NULL);
    if (receiver < 0 || fcntl(sender, F_SETFL, O_NONBLOCK) || fcntl(receiver, F_SETFL, O_NONBLOCK))
        refuse("accept");
    close(listener);
}

/* What a call moved; 0 when it has to wait. */
static size_t moved(ssize_t count, const char *what)
{
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        refuse(what);
    return count > 0 ? (size_t)count : 0;
}

static size_t at_most(size_t left)
{
    return left < PIECE_BYTES ? left : PIECE_BYTES;
}

static uint64_t iterate(void)
{
    size_t out = 0, in = 0;
    memset(received, 0, bytes);
    while (in < bytes) {
        size_t before = out + in;
        if (out < bytes)
            out += moved(send(sender, (char *)sent + out, at_most(bytes - out), 0), "send");
        in += moved(recv(receiver, (char *)received + in, at_most(bytes - in), 0), "receive");
        if (out + in == before) {
            struct pollfd arrives = {.fd = receiver, .events = POLLIN, .revents = 0};
            poll(&arrives, 1, 100);
        }
    }
    uint64_t digest = DIGEST_START;
    for (size_t i = 0; i < bytes; i += PIECE_BYTES)
        digest = digest_u32(digest, received[i / sizeof received[0]]);
    return digest;
}

static void check(void)
{
    if (memcmp(sent, received, bytes))
        workload_wrong("what was received is not what was sent.");
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "loopback",
        .summary = "Sends data to itself over TCP on 127.0.0.1. What is received must be what was sent.",
        .inputs = {"1 MiB", "8 MiB"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0x0f2d72ae94240e4e), UINT64_C(0x243881b1ffc03aa1)},
    };
    return workload_main(&workload, argc, argv);
}
