#include "mirror/arch/arch.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "base/error.h"

const char arch_name[] = "x86_64";
const guint32 arch_audit = AUDIT_ARCH_X86_64;

G_STATIC_ASSERT(sizeof(struct user_regs_struct) <= sizeof(guint64[ARCH_REGISTER_WORDS]));

/* The kernel's numbers of errors that never reach user space (include/linux/errno.h). */
enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };

#define EFLAGS_RESUME (1u << 16)

static struct user_regs_struct *
regs(ArchRegisters *registers)
{
  return (struct user_regs_struct *)registers->word;
}

static const struct user_regs_struct *
regs_const(const ArchRegisters *registers)
{
  return (const struct user_regs_struct *)registers->word;
}

const gsize arch_registers_length = sizeof(struct user_regs_struct);

gboolean
arch_registers_read(pid_t tid, ArchRegisters *registers, GError **error)
{
  struct iovec piece = {registers->word, sizeof registers->word};
  if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &piece) < 0)
    return doppel_error_errno(error, "reading the registers of thread %d", tid);
  registers->length = piece.iov_len;
  if (piece.iov_len != sizeof(struct user_regs_struct))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "thread %d is not a 64-bit thread; only 64-bit programs can be mirrored", tid);
  return TRUE;
}

gboolean
arch_registers_write(pid_t tid, const ArchRegisters *registers, GError **error)
{
  struct iovec piece = {(void *)registers->word, sizeof(struct user_regs_struct)};
  if (ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &piece) < 0)
    return doppel_error_errno(error, "setting the registers of thread %d", tid);
  return TRUE;
}

guint64
arch_pc(const ArchRegisters *registers)
{
  return regs_const(registers)->rip;
}

void
arch_set_pc(ArchRegisters *registers, guint64 address)
{
  regs(registers)->rip = address;
}

guint64
arch_sp(const ArchRegisters *registers)
{
  return regs_const(registers)->rsp;
}

void
arch_set_sp(ArchRegisters *registers, guint64 address)
{
  regs(registers)->rsp = address;
}

void
arch_set_call(ArchRegisters *registers, guint64 pc, gint64 number, const guint64 arguments[6])
{
  struct user_regs_struct *r = regs(registers);
  r->rip = pc;
  r->orig_rax = -1;
  r->rax = number;
  r->rdi = arguments[0];
  r->rsi = arguments[1];
  r->rdx = arguments[2];
  r->r10 = arguments[3];
  r->r8 = arguments[4];
  r->r9 = arguments[5];
  r->eflags &= ~0x100ull; /* no single step over the stub */
}

void
arch_set_batch(ArchRegisters *registers, guint64 pc, guint64 calls, guint64 count)
{
  struct user_regs_struct *r = regs(registers);
  r->rip = pc;
  r->orig_rax = -1;
  r->rbx = calls;
  r->r12 = count;
  r->eflags &= ~0x500ull; /* neither single step nor reversed direction */
}

gint64
arch_result(const ArchRegisters *registers)
{
  return regs_const(registers)->rax;
}

void
arch_set_result(ArchRegisters *registers, gint64 value)
{
  regs(registers)->rax = value;
}

guint64
arch_argument(const ArchRegisters *registers, guint index)
{
  const struct user_regs_struct *r = regs_const(registers);
  const guint64 arguments[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};
  return arguments[index];
}

guint64
arch_parameter(const ArchRegisters *registers, guint index)
{
  return index == 3 ? regs_const(registers)->rcx : arch_argument(registers, index);
}

void
arch_set_argument(ArchRegisters *registers, guint index, guint64 value)
{
  struct user_regs_struct *r = regs(registers);
  unsigned long long *const arguments[6] = {&r->rdi, &r->rsi, &r->rdx, &r->r10, &r->r8, &r->r9};
  *arguments[index] = value;
}

void
arch_skip_call(ArchRegisters *registers)
{
  regs(registers)->orig_rax = -1;
}

gint64
arch_call_number(pid_t tid, const ArchRegisters *registers)
{
  return (gint64)regs_const(registers)->orig_rax;
}

gboolean
arch_rewind_call(ArchRegisters *registers)
{
  struct user_regs_struct *r = regs(registers);
  if ((gint64)r->orig_rax < 0)
    return FALSE;
  gint64 result = (gint64)r->rax;
  switch (-result) {
  case ERESTARTSYS:
  case ERESTARTNOINTR:
  case ERESTARTNOHAND:
  case ERESTART_RESTARTBLOCK:
    r->rax = r->orig_rax;
    r->rip -= 2;
    break;
  }
  r->orig_rax = -1;
  return TRUE;
}

guint64
arch_return_address(const ArchRegisters *registers, guint64 top)
{
  return top;
}

gboolean
arch_frame_left(guint64 entry_sp, guint64 sp)
{
  return sp > entry_sp; /* the return took its address off the stack */
}

/* ---- extended state ---- */

enum {
  XSAVE_LEGACY = 512,
  XSAVE_HEADER = 64,
  XSAVE_XCR0_AT = 464,
  XSAVE_MAX = 16384,
  XSAVE_COMPONENTS = 63,
  XSAVE_LEGACY_COMPONENTS = 3, /* x87 and SSE */
};

/* In a virtual machine each CPUID instruction is a way out to the hypervisor and back: asked once. */
static gboolean
xsave_component(guint component, guint32 *size, guint32 *offset)
{
  static struct {
    gboolean known;
    guint32 size, offset;
  } components[XSAVE_COMPONENTS];
  typeof(&components[0]) entry = &components[component];
  guint32 eax, ebx, ecx, edx;
  if (!entry->known) {
    if (__get_cpuid_count(0xd, component, &eax, &ebx, &ecx, &edx)) {
      entry->size = eax;
      entry->offset = ebx;
    }
    entry->known = TRUE;
  }
  *size = entry->size;
  *offset = entry->offset;
  return entry->size != 0;
}

static gboolean
xsave_read(pid_t tid, guint8 area[XSAVE_MAX], gsize *length, GError **error)
{
  struct iovec piece = {area, XSAVE_MAX};
  if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &piece) < 0)
    return doppel_error_errno(error, "reading the extended registers of thread %d", tid);
  *length = piece.iov_len;
  if (piece.iov_len < XSAVE_LEGACY + XSAVE_HEADER)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "thread %d has no XSAVE state", tid);
  return TRUE;
}

static gboolean
is_zero(const guint8 *bytes, gsize length)
{
  return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* Canonical form: mask of components in use (8 bytes), the legacy area up to the software bytes, then for
 * each component from 2 on: number, size (4 bytes each), contents.
 *
 * A processor may say of a component in its initial state that it is in use or that it is not, and says
 * another thing after the next switch of tasks (Intel SDM vol. 1, 13.6). What is all zeros, which is initial,
 * is never in use here, and the legacy ones, which the kernel gives in any case, always are. */
gboolean
arch_extended_read(pid_t tid, GByteArray *into, GError **error)
{
  guint8 area[XSAVE_MAX];
  gsize length, start = into->len;
  if (!xsave_read(tid, area, &length, error))
    return FALSE;
  guint64 in_use, found = XSAVE_LEGACY_COMPONENTS;
  memcpy(&in_use, area + XSAVE_LEGACY, 8);
  g_byte_array_append(into, (guint8 *)&found, 8);
  g_byte_array_append(into, area, XSAVE_XCR0_AT);
  for (guint component = 2; component < XSAVE_COMPONENTS; component++) {
    guint32 head[2] = {component}, offset;
    if (!(in_use >> component & 1) || !xsave_component(component, &head[1], &offset))
      continue;
    if (offset + (gsize)head[1] > length || is_zero(area + offset, head[1]))
      continue;
    found |= G_GUINT64_CONSTANT(1) << component;
    g_byte_array_append(into, (guint8 *)head, sizeof head);
    g_byte_array_append(into, area + offset, head[1]);
  }
  memcpy(into->data + start, &found, 8);
  return TRUE;
}

/* Puts the canonical form into a register set as the kernel has it, of `room` bytes. `here`: components that
 * it can hold. */
static gboolean
xsave_fill(guint8 area[XSAVE_MAX], gsize room, guint64 here, const guint8 *bytes, gsize length,
           GError **error)
{
  guint64 in_use;
  if (length < 8 + XSAVE_XCR0_AT)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "extended registers are cut short");
  memcpy(&in_use, bytes, 8);
  if (in_use & ~here)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                            "this processor lacks extended state 0x%" G_GINT64_MODIFIER
                            "x that the program uses; start it anew so that it is told so",
                            in_use & ~here);
  memcpy(area, bytes + 8, XSAVE_XCR0_AT);
  memset(area + XSAVE_LEGACY, 0, XSAVE_HEADER);
  memcpy(area + XSAVE_LEGACY, &in_use, 8);
  for (gsize at = 8 + XSAVE_XCR0_AT; at < length;) {
    guint32 head[2], size, offset;
    if (length - at < sizeof head)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "extended registers are cut short");
    memcpy(head, bytes + at, sizeof head);
    at += sizeof head;
    if (head[0] < 2 || head[0] >= XSAVE_COMPONENTS || !(in_use >> head[0] & 1) ||
        !xsave_component(head[0], &size, &offset) || size != head[1] || length - at < size ||
        offset + (gsize)size > room)
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                              "extended state %u has another shape on this processor", head[0]);
    memcpy(area + offset, bytes + at, size);
    at += size;
  }
  return TRUE;
}

gboolean
arch_extended_check(const guint8 *bytes, gsize length, GError **error)
{
  guint8 area[XSAVE_MAX];
  guint32 low = 0, high = 0, used, most;
  __get_cpuid_count(0xd, 0, &low, &used, &most, &high);
  return xsave_fill(area, sizeof area, (guint64)high << 32 | low, bytes, length, error);
}

gboolean
arch_extended_write(pid_t tid, const guint8 *bytes, gsize length, GError **error)
{
  guint8 area[XSAVE_MAX];
  gsize room;
  guint64 here;
  if (!xsave_read(tid, area, &room, error))
    return FALSE;
  memcpy(&here, area + XSAVE_XCR0_AT, 8);
  if (!xsave_fill(area, room, here, bytes, length, error))
    return FALSE;
  struct iovec piece = {area, room};
  if (ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &piece) < 0)
    return doppel_error_errno(error, "setting the extended registers of thread %d", tid);
  return TRUE;
}

/* ---- stub ---- */

extern const guint8 stub_begin[], stub_call_trap[], stub_batch[], stub_batch_trap[], stub_end[];
asm(".pushsection .rodata\n"
    ".global stub_begin, stub_call_trap, stub_batch, stub_batch_trap, stub_end\n"
    ".hidden stub_begin, stub_call_trap, stub_batch, stub_batch_trap, stub_end\n"
    "stub_begin:\n"
    "  syscall\n"
    "  int3\n"
    "stub_call_trap:\n"
    "stub_batch:\n"
    "  movq (%rbx), %rax\n"
    "  movq 8(%rbx), %rdi\n"
    "  movq 16(%rbx), %rsi\n"
    "  movq 24(%rbx), %rdx\n"
    "  movq 32(%rbx), %r10\n"
    "  movq 40(%rbx), %r8\n"
    "  movq 48(%rbx), %r9\n"
    "  cmpq $-2, %rax\n"
    "  je 2f\n"
    "  syscall\n"
    "1:\n"
    "  movq %rax, 56(%rbx)\n"
    "  addq $64, %rbx\n"
    "  decq %r12\n"
    "  jnz stub_batch\n"
    "  int3\n"
    "stub_batch_trap:\n"
    "2:\n"
    "  orb $0, (%rdi)\n"
    "  xorl %eax, %eax\n"
    "  jmp 1b\n"
    "stub_end:\n"
    ".popsection\n");

const ArchStub *
arch_stub(void)
{
  static ArchStub stub;
  stub = (ArchStub){.code = stub_begin,
                    .length = stub_end - stub_begin,
                    .call_at = 0,
                    .call_trap_at = stub_call_trap - stub_begin,
                    .batch_at = stub_batch - stub_begin,
                    .batch_trap_at = stub_batch_trap - stub_begin};
  return &stub;
}

const guint8 arch_bootstrap[8] = {0x0f, 0x05, 0xcc, 0x90, 0x90, 0x90, 0x90, 0x90};
const gsize arch_bootstrap_trap_at = 3;

/* ---- breakpoints ---- */

const guint8 arch_trap[4] = {0xcc};
const gsize arch_trap_length = 1;

guint64
arch_trap_pc(guint64 reported_pc)
{
  return reported_pc - 1;
}

guint
arch_breakpoint_slots(void)
{
  return 4;
}

static gboolean
debug_register_set(pid_t tid, guint number, guint64 value, GError **error)
{
  if (ptrace(PTRACE_POKEUSER, tid, offsetof(struct user, u_debugreg[number]), value) < 0)
    return doppel_error_errno(error, "setting debug register %u of thread %d", number, tid);
  return TRUE;
}

static guint64
debug_control(pid_t tid)
{
  errno = 0;
  guint64 value = ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user, u_debugreg[7]), 0);
  return errno ? 0 : value;
}

gboolean
arch_breakpoint_set(pid_t tid, guint slot, guint64 address, GError **error)
{
  guint64 control = debug_control(tid) & ~(0xfull << (16 + 4 * slot)) & ~(3ull << (2 * slot));
  return debug_register_set(tid, 7, control, error) && debug_register_set(tid, slot, address, error) &&
         debug_register_set(tid, 7, control | 1ull << (2 * slot), error);
}

gboolean
arch_breakpoint_clear(pid_t tid, guint slot, GError **error)
{
  return debug_register_set(tid, 7, debug_control(tid) & ~(3ull << (2 * slot)), error);
}

gboolean
arch_breakpoint_pass(ArchRegisters *registers)
{
  regs(registers)->eflags |= EFLAGS_RESUME;
  return TRUE;
}

void
arch_breakpoint_again(ArchRegisters *registers)
{
  regs(registers)->eflags &= ~(guint64)EFLAGS_RESUME;
}

/* ---- features ---- */

static const struct {
  const char *name;
  guint32 leaf, subleaf;
  enum { EBX, ECX, EDX, EAX } word;
  guint bit;
} feature_table[] = {
    {"AVX", 1, 0, ECX, 28},           {"AVX2", 7, 0, EBX, 5},           {"AVX512BW", 7, 0, EBX, 30},
    {"AVX512CD", 7, 0, EBX, 28},      {"AVX512DQ", 7, 0, EBX, 17},      {"AVX512ER", 7, 0, EBX, 27},
    {"AVX512F", 7, 0, EBX, 16},       {"AVX512PF", 7, 0, EBX, 26},      {"AVX512VL", 7, 0, EBX, 31},
    {"AVX512_VBMI", 7, 0, ECX, 1},    {"AVX512_VBMI2", 7, 0, ECX, 6},   {"AVX512_VNNI", 7, 0, ECX, 11},
    {"AVX_VNNI", 7, 1, EAX, 4},       {"BMI1", 7, 0, EBX, 3},           {"BMI2", 7, 0, EBX, 8},
    {"CMPXCHG16B", 1, 0, ECX, 13},    {"ERMS", 7, 0, EBX, 9},           {"F16C", 1, 0, ECX, 29},
    {"FMA", 1, 0, ECX, 12},           {"FMA4", 0x80000001, 0, ECX, 16}, {"FSRM", 7, 0, EDX, 4},
    {"LZCNT", 0x80000001, 0, ECX, 5}, {"MOVBE", 1, 0, ECX, 22},         {"PKU", 7, 0, ECX, 3},
    {"POPCNT", 1, 0, ECX, 23},        {"RTM", 7, 0, EBX, 11},           {"SSE3", 1, 0, ECX, 0},
    {"SSE4_1", 1, 0, ECX, 19},        {"SSE4_2", 1, 0, ECX, 20},        {"SSSE3", 1, 0, ECX, 9},
    {"XSAVE", 1, 0, ECX, 26},         {"XSAVEC", 0xd, 1, EAX, 1},
};

char *
arch_features(void)
{
  GString *names = g_string_new(NULL);
  for (gsize i = 0; i < G_N_ELEMENTS(feature_table); i++) {
    guint32 word[4] = {0};
    if (!__get_cpuid_count(feature_table[i].leaf, feature_table[i].subleaf, &word[EAX], &word[EBX],
                           &word[ECX], &word[EDX]))
      continue;
    if (word[feature_table[i].word] >> feature_table[i].bit & 1)
      g_string_append_printf(names, "%s%s", names->len ? " " : "", feature_table[i].name);
  }
  return g_string_free(names, FALSE);
}

char *
arch_features_mask(const char *own, const char *other)
{
  g_auto(GStrv) mine = g_strsplit(own, " ", -1);
  g_auto(GStrv) theirs = g_strsplit(other, " ", -1);
  GString *mask = g_string_new(NULL);
  for (char **name = mine; *name; name++)
    if (**name && !g_strv_contains((const char *const *)theirs, *name))
      g_string_append_printf(mask, "%s-%s", mask->len ? "," : "", *name);
  return g_string_free(mask, mask->len == 0);
}
