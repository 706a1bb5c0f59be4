/*
 * end_thread: let one thread of another process end, and no other, as a fault in it would.
 *
 *   end_thread TID     (arm64)
 */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <asm/ptrace.h>
#include <asm/unistd.h>

static void check(long result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const int tid = argc == 2 ? atoi(argv[1]) : 0;
    if (tid <= 0) {
        fprintf(stderr, "usage: end_thread TID\n");
        return 2;
    }
    check(ptrace(PTRACE_ATTACH, tid, NULL, NULL), "attach");
    check(waitpid(tid, NULL, __WALL), "wait");

    struct user_pt_regs registers;
    struct iovec block = {&registers, sizeof registers};
    check(ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &block), "read its registers");
    /* It was stopped in a system call, so the instruction before is one: it is made again, as exit(0). */
    registers.pc -= 4;
    const uint32_t instruction = (uint32_t)ptrace(PTRACE_PEEKTEXT, tid, registers.pc, NULL);
    if (instruction != 0xd4000001u) { /* svc #0 */
        fprintf(stderr, "end_thread: thread %d is not in a system call\n", tid);
        return 1;
    }
    registers.regs[8] = __NR_exit;
    registers.regs[0] = 0;
    check(ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &block), "write its registers");
    check(ptrace(PTRACE_DETACH, tid, NULL, NULL), "detach");
    return 0;
}
