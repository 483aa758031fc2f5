/* Everything that depends on the processor: registers, the injected stub, breakpoints, features. One
 * implementation per architecture (x86_64.c, aarch64.c) is compiled; no other file knows which. Sources:
 * ptrace(2), the kernel's Documentation/arch/x86/xstate.rst and Documentation/arch/arm64/, Intel SDM vol. 1
 * ch. 13 (XSAVE layouts). */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* The general registers of a stopped thread, as the kernel's NT_PRSTATUS register set lays them out. */
#define ARCH_REGISTER_WORDS 40
typedef struct {
  guint64 word[ARCH_REGISTER_WORDS];
  guint32 length; /* bytes used */
} ArchRegisters;

extern const char arch_name[];   /* as uname(2) says it: "x86_64", "aarch64" */
extern const guint32 arch_audit; /* AUDIT_ARCH_* for seccomp filters */

extern const gsize arch_registers_length; /* of every thread's: bytes used */
gboolean arch_registers_read(pid_t tid, ArchRegisters *registers, GError **error);
gboolean arch_registers_write(pid_t tid, const ArchRegisters *registers, GError **error);

guint64 arch_pc(const ArchRegisters *registers);
void arch_set_pc(ArchRegisters *registers, guint64 address);
guint64 arch_sp(const ArchRegisters *registers);
void arch_set_sp(ArchRegisters *registers, guint64 address);
/* Prepares for a system call made by the stub at `pc`. Also keeps the kernel from restarting an interrupted
 * call. */
void arch_set_call(ArchRegisters *registers, guint64 pc, gint64 number, const guint64 arguments[6]);
/* Prepares for the stub's batch of `count` MirrorCalls at `calls`. */
void arch_set_batch(ArchRegisters *registers, guint64 pc, guint64 calls, guint64 count);
gint64 arch_result(const ArchRegisters *registers);
void arch_set_result(ArchRegisters *registers, gint64 value);
guint64 arch_argument(const ArchRegisters *registers, guint index);
/* At a function's entry: its integer arguments, as far as they are in registers. */
guint64 arch_parameter(const ArchRegisters *registers, guint index);
void arch_set_argument(ArchRegisters *registers, guint index, guint64 value);
/* At a call's entry: keeps it from being made; its result is then set at its exit. */
void arch_skip_call(ArchRegisters *registers);
/* Number of the system call that a thread stopped in one is making; -1: none. */
gint64 arch_call_number(pid_t tid, const ArchRegisters *registers);

/* A thread that was frozen inside a system call which the kernel would restart: makes the registers such that
 * the call is made again from its beginning wherever they are loaded (another kernel cannot know how to
 * restart it). A call that must end with EINTR ends so. TRUE when the thread was in a call. */
gboolean arch_rewind_call(ArchRegisters *registers);

/* At a function's entry, before its first instruction: where it will return to. `top` is the word at the
 * stack pointer. */
guint64 arch_return_address(const ArchRegisters *registers, guint64 top);
/* TRUE once the frame whose entry had the stack pointer `entry_sp` was left, when control is at its return
 * address. */
gboolean arch_frame_left(guint64 entry_sp, guint64 sp);

/* Extended state (floating point, vectors, thread pointer where it is no general register) in a form that
 * does not depend on this processor's layout ("hardware description translation"). */
gboolean arch_extended_read(pid_t tid, GByteArray *into, GError **error);
/* Whether it could be a thread's on a processor like this one; MISMATCH where this lacks a component in use.
 * `bytes` may be hostile. */
gboolean arch_extended_check(const guint8 *bytes, gsize length, GError **error);
/* Checks it, too. */
gboolean arch_extended_write(pid_t tid, const guint8 *bytes, gsize length, GError **error);

/* The stub: position-independent code that makes system calls for the engine and then traps. */
typedef struct {
  const guint8 *code;
  gsize length;
  gsize call_at, call_trap_at;   /* one call from registers; where the trap after it leaves pc */
  gsize batch_at, batch_trap_at; /* a batch */
} ArchStub;
const ArchStub *arch_stub(void);
#define ARCH_BATCH_TOUCH                                                                                     \
  (-2) /* as a call's number in a batch: writes back the byte at argument[0] (grows a stack) */
/* The instructions `system call; trap`, to be put for a moment where a thread stands. */
extern const guint8 arch_bootstrap[8];
extern const gsize arch_bootstrap_trap_at;

/* Execution breakpoints. Hardware slots are per thread. */
guint arch_breakpoint_slots(void);
gboolean arch_breakpoint_set(pid_t tid, guint slot, guint64 address, GError **error);
gboolean arch_breakpoint_clear(pid_t tid, guint slot, GError **error);
/* Lets a thread that stands on a hardware breakpoint pass it when it is resumed (x86: the resume flag); FALSE
 * where the processor has no such thing and the breakpoint must be stepped over. */
gboolean arch_breakpoint_pass(ArchRegisters *registers);
/* Makes a breakpoint that has just fired fire again when the thread is resumed where it is. */
void arch_breakpoint_again(ArchRegisters *registers);
extern const guint8 arch_trap[4];
extern const gsize arch_trap_length;
guint64 arch_trap_pc(guint64 reported_pc); /* address of the trap instruction that reported this pc */

/* Processor features that user space may have chosen code by, sorted, "name name …" (the names of glibc's
 * glibc.cpu.hwcaps tunable where it has one). */
char *arch_features(void);
/* The value for GLIBC_TUNABLES' glibc.cpu.hwcaps that masks `own` features missing in `other`; NULL: none are
 * missing. */
char *arch_features_mask(const char *own, const char *other);
