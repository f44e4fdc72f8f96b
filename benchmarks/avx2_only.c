/* Lets an x86-64 processor of today pass for one that has AVX2 and nothing newer (no AVX-512, VNNI or AMX).
 *
 *     cc -O2 -shared -fPIC -o avx2_only.so benchmarks/avx2_only.c
 *     LD_PRELOAD=$PWD/avx2_only.so python benchmarks/weight_storage.py
 *     LD_PRELOAD=$PWD/avx2_only.so python -m pytest -p no:faulthandler tests/training
 *
 * Linux only, on processors whose /proc/cpuinfo names cpuid_fault: the kernel then turns each CPUID into a SIGSEGV, and
 * the handler below answers in its place. What a library finds out about the processor is all that changes. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

/* Bits of leaf 7: AVX-512 in all its parts, vector AES and VNNI, AMX; of its subleaf 1: AVX-VNNI, BF16 and AMX-FP16. */
static const uint32_t EBX_7 = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
static const uint32_t ECX_7 = BIT(1) | BIT(6) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14);
static const uint32_t EDX_7 = BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25);
static const uint32_t EAX_7_1 = BIT(4) | BIT(5) | BIT(21) | BIT(23);
static const uint32_t EDX_7_1 = BIT(4) | BIT(5) | BIT(10) | BIT(19);

static long trap_cpuid(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on); }

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    (void)info;
    if (code[0] != 0x0f || code[1] != 0xa2) { /* no CPUID: a true fault, which comes again without this handler */
        signal(number, SIG_DFL);
        return;
    }
    uint32_t leaf = registers[REG_RAX], subleaf = registers[REG_RCX], a, b, c, d;
    trap_cpuid(0);
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(subleaf));
    trap_cpuid(1);
    if (leaf == 7 && subleaf == 0) b &= ~EBX_7, c &= ~ECX_7, d &= ~EDX_7;
    if (leaf == 7 && subleaf == 1) a &= ~EAX_7_1, d &= ~EDX_7_1;
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    if (trap_cpuid(1)) perror("this processor or kernel cannot trap CPUID");
}
