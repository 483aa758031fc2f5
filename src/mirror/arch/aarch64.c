#include "mirror/arch/arch.h"

#include <asm/hwcap.h>
#include <elf.h>
#include <linux/audit.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* Behind glibc's header, whose names it would take otherwise. */
#include <asm/ptrace.h>

#include "base/error.h"

const char arch_name[] = "aarch64";
const guint32 arch_audit = AUDIT_ARCH_AARCH64;

G_STATIC_ASSERT(sizeof(struct user_pt_regs) + 8 <= sizeof(guint64[ARCH_REGISTER_WORDS]));

enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };
enum { CALL_WORD = sizeof(struct user_pt_regs) / 8, REGISTER_BYTES = sizeof(struct user_pt_regs) + 8 };

/* word[CALL_WORD] is the system call's number (NT_ARM_SYSTEM_CALL), a register set of its own here; the first
 * argument, which the result overwrites, is still what it was only in the kernel: a rewound call takes it
 * from there on this machine. */
static struct user_pt_regs *
regs(ArchRegisters *registers)
{
  return (struct user_pt_regs *)registers->word;
}

static const struct user_pt_regs *
regs_const(const ArchRegisters *registers)
{
  return (const struct user_pt_regs *)registers->word;
}

static gboolean
set_read(pid_t tid, int set, void *to, gsize *length, const char *what, GError **error)
{
  struct iovec piece = {to, *length};
  if (ptrace(PTRACE_GETREGSET, tid, set, &piece) < 0)
    return doppel_error_errno(error, "reading %s of thread %d", what, tid);
  *length = piece.iov_len;
  return TRUE;
}

static gboolean
set_write(pid_t tid, int set, const void *from, gsize length, const char *what, GError **error)
{
  struct iovec piece = {(void *)from, length};
  if (ptrace(PTRACE_SETREGSET, tid, set, &piece) < 0)
    return doppel_error_errno(error, "setting %s of thread %d", what, tid);
  return TRUE;
}

const gsize arch_registers_length = REGISTER_BYTES;

gboolean
arch_registers_read(pid_t tid, ArchRegisters *registers, GError **error)
{
  gsize length = sizeof(struct user_pt_regs);
  if (!set_read(tid, NT_PRSTATUS, registers->word, &length, "the registers", error))
    return FALSE;
  if (length != sizeof(struct user_pt_regs))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "thread %d is not a 64-bit thread; only 64-bit programs can be mirrored", tid);
  int number = -1;
  length = sizeof number;
  if (!set_read(tid, NT_ARM_SYSTEM_CALL, &number, &length, "the system call", error))
    return FALSE;
  registers->word[CALL_WORD] = (guint64)(gint64)number;
  registers->length = REGISTER_BYTES;
  return TRUE;
}

gboolean
arch_registers_write(pid_t tid, const ArchRegisters *registers, GError **error)
{
  int number = (int)registers->word[CALL_WORD];
  return set_write(tid, NT_PRSTATUS, registers->word, sizeof(struct user_pt_regs), "the registers", error) &&
         set_write(tid, NT_ARM_SYSTEM_CALL, &number, sizeof number, "the system call", error);
}

guint64
arch_pc(const ArchRegisters *registers)
{
  return regs_const(registers)->pc;
}

void
arch_set_pc(ArchRegisters *registers, guint64 address)
{
  regs(registers)->pc = address;
}

guint64
arch_sp(const ArchRegisters *registers)
{
  return regs_const(registers)->sp;
}

void
arch_set_sp(ArchRegisters *registers, guint64 address)
{
  regs(registers)->sp = address;
}

void
arch_set_call(ArchRegisters *registers, guint64 pc, gint64 number, const guint64 arguments[6])
{
  struct user_pt_regs *r = regs(registers);
  for (int i = 0; i < 6; i++)
    r->regs[i] = arguments[i];
  r->regs[8] = number;
  r->pc = pc;
  registers->word[CALL_WORD] = (guint64)-1;
}

void
arch_set_batch(ArchRegisters *registers, guint64 pc, guint64 calls, guint64 count)
{
  struct user_pt_regs *r = regs(registers);
  r->regs[19] = calls;
  r->regs[20] = count;
  r->pc = pc;
  registers->word[CALL_WORD] = (guint64)-1;
}

gint64
arch_result(const ArchRegisters *registers)
{
  return regs_const(registers)->regs[0];
}

void
arch_set_result(ArchRegisters *registers, gint64 value)
{
  regs(registers)->regs[0] = value;
}

guint64
arch_argument(const ArchRegisters *registers, guint index)
{
  return regs_const(registers)->regs[index];
}

guint64
arch_parameter(const ArchRegisters *registers, guint index)
{
  return arch_argument(registers, index);
}

void
arch_set_argument(ArchRegisters *registers, guint index, guint64 value)
{
  regs(registers)->regs[index] = value;
}

void
arch_skip_call(ArchRegisters *registers)
{
  registers->word[CALL_WORD] = (guint64)-1;
}

gint64
arch_call_number(pid_t tid, const ArchRegisters *registers)
{
  return (gint64)registers->word[CALL_WORD];
}

gboolean
arch_rewind_call(ArchRegisters *registers)
{
  struct user_pt_regs *r = regs(registers);
  if ((gint64)registers->word[CALL_WORD] < 0)
    return FALSE;
  /* The kernel itself rewinds a restartable call here before it reports the stop, and gives regs[0] back. */
  switch (-(gint64)r->regs[0]) {
  case ERESTARTSYS:
  case ERESTARTNOINTR:
  case ERESTARTNOHAND:
  case ERESTART_RESTARTBLOCK:
    r->pc -= 4;
    break;
  }
  registers->word[CALL_WORD] = (guint64)-1;
  return TRUE;
}

guint64
arch_return_address(const ArchRegisters *registers, guint64 top)
{
  /* A signed return address (pointer authentication) carries its signature in the bits above the address
   * space. */
  guint64 link = regs_const(registers)->regs[30];
  return link & ((1ull << 55) - 1) & ~(link >> 55 & 1 ? 0 : 0xff80000000000000ull);
}

gboolean
arch_frame_left(guint64 entry_sp, guint64 sp)
{
  return sp >=
         entry_sp; /* the return address was in a register: the stack pointer comes back to where it was */
}

/* Canonical extended state: a list of {set, length, contents}. */
static const struct {
  int set;
  const char *what;
  gsize most;
  gboolean needed;
} extended_table[] = {
    {NT_PRFPREG, "the floating-point registers", sizeof(struct user_fpsimd_state), TRUE},
    {NT_ARM_TLS, "the thread pointer", 16, TRUE},
    {0x408 /* NT_ARM_PACA_KEYS */, "the pointer-authentication keys", 128, FALSE},
    {0x409 /* NT_ARM_PACG_KEYS */, "the generic authentication key", 16, FALSE},
    {NT_ARM_SVE, "the SVE registers", 16384, FALSE},
};

gboolean
arch_extended_read(pid_t tid, GByteArray *into, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS(extended_table); i++) {
    guint8 bytes[16384];
    gsize length = extended_table[i].most;
    g_autoptr(GError) missing = NULL;
    if (!set_read(tid, extended_table[i].set, bytes, &length, extended_table[i].what, &missing)) {
      if (!extended_table[i].needed)
        continue;
      g_propagate_error(error, g_steal_pointer(&missing));
      return FALSE;
    }
    guint32 head[2] = {i, length};
    g_byte_array_append(into, (guint8 *)head, sizeof head);
    g_byte_array_append(into, bytes, length);
  }
  return TRUE;
}

gboolean
arch_extended_check(const guint8 *bytes, gsize length, GError **error)
{
  for (gsize at = 0; at < length;) {
    guint32 head[2];
    if (length - at < sizeof head)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "extended registers are cut short");
    memcpy(head, bytes + at, sizeof head);
    at += sizeof head;
    if (head[0] >= G_N_ELEMENTS(extended_table) || head[1] > extended_table[head[0]].most ||
        head[1] > length - at)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "extended registers of a wrong length");
    at += head[1];
  }
  return TRUE;
}

gboolean
arch_extended_write(pid_t tid, const guint8 *bytes, gsize length, GError **error)
{
  if (!arch_extended_check(bytes, length, error))
    return FALSE;
  for (gsize at = 0; at < length;) {
    guint32 head[2];
    memcpy(head, bytes + at, sizeof head);
    at += sizeof head;
    if (!set_write(tid, extended_table[head[0]].set, bytes + at, head[1], extended_table[head[0]].what,
                   error))
      return FALSE;
    at += head[1];
  }
  return TRUE;
}

extern const guint8 stub_begin[], stub_call_trap[], stub_batch[], stub_batch_trap[], stub_end[];
asm(".pushsection .rodata\n"
    ".balign 8\n"
    ".global stub_begin, stub_call_trap, stub_batch, stub_batch_trap, stub_end\n"
    ".hidden stub_begin, stub_call_trap, stub_batch, stub_batch_trap, stub_end\n"
    "stub_begin:\n"
    "  svc #0\n"
    "stub_call_trap:\n"
    "  brk #0\n"
    "stub_batch:\n"
    "  ldr x8, [x19]\n"
    "  ldp x0, x1, [x19, #8]\n"
    "  ldp x2, x3, [x19, #24]\n"
    "  ldp x4, x5, [x19, #40]\n"
    "  cmn x8, #2\n"
    "  b.eq 2f\n"
    "  svc #0\n"
    "1:\n"
    "  str x0, [x19, #56]\n"
    "  add x19, x19, #64\n"
    "  subs x20, x20, #1\n"
    "  b.ne stub_batch\n"
    "stub_batch_trap:\n"
    "  brk #0\n"
    "2:\n"
    "  ldrb w1, [x0]\n"
    "  strb w1, [x0]\n"
    "  mov x0, #0\n"
    "  b 1b\n"
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

const guint8 arch_bootstrap[8] = {0x01, 0x00, 0x00, 0xd4, 0x00, 0x00, 0x20, 0xd4}; /* svc #0; brk #0 */
const gsize arch_bootstrap_trap_at = 4;

const guint8 arch_trap[4] = {0x00, 0x00, 0x20, 0xd4};
const gsize arch_trap_length = 4;

guint64
arch_trap_pc(guint64 reported_pc)
{
  return reported_pc;
}

guint
arch_breakpoint_slots(void)
{
  return 4; /* the architecture promises at least two; six are usual. Setting one too many fails and int3's
               kin is used */
}

static gboolean
breakpoint_write(pid_t tid, guint slot, guint64 address, guint32 control, GError **error)
{
  struct user_hwdebug_state state = {0};
  gsize length = sizeof state;
  if (!set_read(tid, NT_ARM_HW_BREAK, &state, &length, "the breakpoints", error))
    return FALSE;
  state.dbg_regs[slot].addr = address;
  state.dbg_regs[slot].ctrl = control;
  return set_write(tid, NT_ARM_HW_BREAK, &state,
                   offsetof(struct user_hwdebug_state, dbg_regs) + (slot + 1) * sizeof state.dbg_regs[0],
                   "the breakpoints", error);
}

gboolean
arch_breakpoint_set(pid_t tid, guint slot, guint64 address, GError **error)
{
  /* Byte address select: all four; privilege: EL0; enabled (Arm ARM D17.3, DBGBCR). */
  return breakpoint_write(tid, slot, address, 0xf << 5 | 2 << 1 | 1, error);
}

gboolean
arch_breakpoint_clear(pid_t tid, guint slot, GError **error)
{
  return breakpoint_write(tid, slot, 0, 0, error);
}

gboolean
arch_breakpoint_pass(ArchRegisters *registers)
{
  return FALSE;
}

void
arch_breakpoint_again(ArchRegisters *registers)
{
}

static const struct {
  const char *name;
  unsigned long type, bit;
} feature_table[] = {
    {"AES", AT_HWCAP, HWCAP_AES},     {"ATOMICS", AT_HWCAP, HWCAP_ATOMICS}, {"BTI", AT_HWCAP2, HWCAP2_BTI},
    {"CRC32", AT_HWCAP, HWCAP_CRC32}, {"MTE", AT_HWCAP2, HWCAP2_MTE},       {"PACA", AT_HWCAP, HWCAP_PACA},
    {"PMULL", AT_HWCAP, HWCAP_PMULL}, {"SHA2", AT_HWCAP, HWCAP_SHA2},       {"SVE", AT_HWCAP, HWCAP_SVE},
    {"SVE2", AT_HWCAP2, HWCAP2_SVE2},
};

char *
arch_features(void)
{
  GString *names = g_string_new(NULL);
  for (gsize i = 0; i < G_N_ELEMENTS(feature_table); i++)
    if (getauxval(feature_table[i].type) & feature_table[i].bit)
      g_string_append_printf(names, "%s%s", names->len ? " " : "", feature_table[i].name);
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
