/* What lies behind the untyped arguments of ioctl, fcntl, setsockopt and prctl. */
#include <asm/socket.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "mirror/syscalls_numbers.h"
#include "mirror/syscalls_table.h"

/* clang-format off */
#define NUMBER          {SYSCALL_ARG_INT}
#define NOTHING         {SYSCALL_ARG_INT}
#define GIVES(size)     {SYSCALL_ARG_IN_FIXED, 0, size}
#define GETS(size)      {SYSCALL_ARG_OUT_KEPT, 0, size} /* a driver may fill a part */
#define BOTH(size)      {SYSCALL_ARG_INOUT_FIXED, 0, size}
#define REFUSED         {SYSCALL_ARG_UNSUPPORTED}
#define SIZE_IFREQ           40
#define SIZE_TERMIOS         36 /* the kernel's, not the C library's */
#define SIZE_TERMIO          18
#define SIZE_SERIAL_COUNTERS 80
/* clang-format on */

typedef struct {
  guint32 request;
  SyscallArg arg;
} Request;

/* Requests from before the size was part of their number. Refused is what takes input in the user's name
 * (TIOCSTI), the console or the controlling terminal, and what has pointers inside. */
static const Request ioctls[] = {
    {TCGETS, GETS(SIZE_TERMIOS)},
    {TCSETS, GIVES(SIZE_TERMIOS)},
    {TCSETSW, GIVES(SIZE_TERMIOS)},
    {TCSETSF, GIVES(SIZE_TERMIOS)},
    {TCGETA, GETS(SIZE_TERMIO)},
    {TCSETA, GIVES(SIZE_TERMIO)},
    {TCSETAW, GIVES(SIZE_TERMIO)},
    {TCSETAF, GIVES(SIZE_TERMIO)},
    {TCSBRK, NUMBER},
    {TCSBRKP, NUMBER},
    {TCXONC, NUMBER},
    {TCFLSH, NUMBER},
    {TIOCEXCL, NOTHING},
    {TIOCNXCL, NOTHING},
    {TIOCGPGRP, GETS(4)},
    {TIOCSPGRP, GIVES(4)},
    {TIOCGSID, GETS(4)},
    {TIOCOUTQ, GETS(4)},
    {FIONREAD, GETS(4)},
    {TIOCGWINSZ, GETS(sizeof(struct winsize))},
    {TIOCSWINSZ, GIVES(sizeof(struct winsize))},
    {TIOCMGET, GETS(4)},
    {TIOCMBIS, GIVES(4)},
    {TIOCMBIC, GIVES(4)},
    {TIOCMSET, GIVES(4)},
    {TIOCMIWAIT, NUMBER},
    {TIOCGICOUNT, GETS(SIZE_SERIAL_COUNTERS)},
    {TIOCGSOFTCAR, GETS(4)},
    {TIOCSSOFTCAR, GIVES(4)},
    {TIOCPKT, GIVES(4)},
    {TIOCGETD, GETS(4)},
    {TIOCSETD, GIVES(4)},
    {TIOCSBRK, NOTHING},
    {TIOCCBRK, NOTHING},
    {FIONBIO, GIVES(4)},
    {FIOASYNC, GIVES(4)},
    {FIOQSIZE, GETS(8)},
    {FIOCLEX, NOTHING},
    {FIONCLEX, NOTHING},
    {TIOCSTI, REFUSED},
    {TIOCLINUX, REFUSED},
    {TIOCCONS, REFUSED},
    {TIOCSCTTY, REFUSED},
    {TIOCNOTTY, REFUSED},
    {TIOCGSERIAL, REFUSED},
    {TIOCSSERIAL, REFUSED},
    {TIOCGPTPEER, REFUSED},
    {FIOSETOWN, GIVES(4)},
    {FIOGETOWN, GETS(4)},
    {SIOCSPGRP, GIVES(4)},
    {SIOCGPGRP, GETS(4)},
    {SIOCATMARK, GETS(4)},
    {SIOCGSTAMP_OLD, GETS(16)},
    {SIOCGSTAMPNS_OLD, GETS(16)},
    {SIOCGIFNAME, BOTH(SIZE_IFREQ)},
    {SIOCGIFFLAGS, BOTH(SIZE_IFREQ)},
    {SIOCGIFADDR, BOTH(SIZE_IFREQ)},
    {SIOCGIFDSTADDR, BOTH(SIZE_IFREQ)},
    {SIOCGIFBRDADDR, BOTH(SIZE_IFREQ)},
    {SIOCGIFNETMASK, BOTH(SIZE_IFREQ)},
    {SIOCGIFMETRIC, BOTH(SIZE_IFREQ)},
    {SIOCGIFMTU, BOTH(SIZE_IFREQ)},
    {SIOCGIFHWADDR, BOTH(SIZE_IFREQ)},
    {SIOCGIFINDEX, BOTH(SIZE_IFREQ)},
    {SIOCGIFTXQLEN, BOTH(SIZE_IFREQ)},
    {0x125e /* BLKROGET */, GETS(4)},
    {0x1260 /* BLKGETSIZE */, GETS(8)},
    {0x1261 /* BLKFLSBUF */, NOTHING},
    {0x1268 /* BLKSSZGET */, GETS(4)},
    {0x1278 /* BLKIOMIN */, GETS(4)},
    {0x1279 /* BLKIOOPT */, GETS(4)},
    {0x127a /* BLKALIGNOFF */, GETS(4)},
    {0x127b /* BLKPBSZGET */, GETS(4)},
    {0x127e /* BLKROTATIONAL */, GETS(2)},
    {0x80081272 /* BLKGETSIZE64 */, GETS(8)},
    {0x80081270 /* BLKBSZGET, which fills an int */, GETS(8)},
    {0x4b33 /* KDGKBTYPE */, GETS(1)},
    {0x4b3b /* KDGETMODE */, GETS(4)},
    {0x4b44 /* KDGKBMODE */, GETS(4)},
    {0x4b2f /* KIOCSOUND */, NUMBER},
    {0x4b30 /* KDMKTONE */, NUMBER},
    {0x5600 /* VT_OPENQRY */, GETS(4)},
    {0x5603 /* VT_GETSTATE */, GETS(6)},
    {0x80045200 /* RNDGETENTCNT */, GETS(4)},
    {0x80086601 /* FS_IOC_GETFLAGS */, GETS(8)},
};

/* Drivers whose requests carry their size and whose structures hold neither pointers nor descriptors. */
static const char flat_ioctl_types[] = {
    'E',        /* input events */
    'j',        /* joysticks */
    'H',        /* hidraw */
    'p',        /* real-time clocks */
    'T',        /* terminals: TCGETS2, TIOCGPTN, … */
    (char)0x89, /* sockets: SIOCGSTAMP_NEW, … */
};
static const guint32 nested_ioctls[] = {0x80104592 /* EVIOCGMASK */, 0x40104593 /* EVIOCSMASK */};

/* FIOCLEX, FIONCLEX and the F_DUPFD family concern the placeholder and are answered there
 * (syscall_stays_on_placeholder()), but should one come, it does no harm to know them. */
static const Request fcntls[] = {
    {F_GETFL, NOTHING},
    {F_SETFL, NUMBER},
    {F_GETLK, BOTH(sizeof(struct flock))},
    {F_SETLK, GIVES(sizeof(struct flock))},
    {F_SETLKW, GIVES(sizeof(struct flock))},
    {F_OFD_GETLK, BOTH(sizeof(struct flock))},
    {F_OFD_SETLK, GIVES(sizeof(struct flock))},
    {F_OFD_SETLKW, GIVES(sizeof(struct flock))},
    {F_SETOWN, NUMBER},
    {F_GETOWN, NOTHING},
    {F_SETOWN_EX, GIVES(8)},
    {F_GETOWN_EX, BOTH(8)},
    {F_SETSIG, NUMBER},
    {F_GETSIG, NOTHING},
    {F_GETLEASE, NOTHING},
    {F_SETPIPE_SZ, NUMBER},
    {F_GETPIPE_SZ, NOTHING},
    {F_ADD_SEALS, NUMBER},
    {F_GET_SEALS, NOTHING},
};

static const SyscallArg refused = REFUSED;

static SyscallArg
find_request(const Request *requests, guint count, guint32 request)
{
  for (guint i = 0; i < count; i++)
    if (requests[i].request == request)
      return requests[i].arg;
  return refused;
}

static SyscallArg
flat_ioctl_argument(guint32 request, guint64 value)
{
  if (!memchr(flat_ioctl_types, (int)_IOC_TYPE(request), sizeof flat_ioctl_types))
    return refused;
  for (guint i = 0; i < G_N_ELEMENTS(nested_ioctls); i++)
    if (nested_ioctls[i] == request)
      return refused;
  /* Without a direction the argument may be a number or a pointer to anything. */
  if (_IOC_DIR(request) == _IOC_NONE)
    return value == 0 ? (SyscallArg)NOTHING : refused;
  guint16 size = _IOC_SIZE(request);
  return _IOC_DIR(request) == _IOC_WRITE ? (SyscallArg)GIVES(size) : (SyscallArg)BOTH(size);
}

SyscallArg
syscalls_ioctl_argument(guint32 request, guint64 value)
{
  for (guint i = 0; i < G_N_ELEMENTS(ioctls); i++)
    if (ioctls[i].request == request)
      return ioctls[i].arg;
  return flat_ioctl_argument(request, value);
}

SyscallArg
syscalls_fcntl_argument(guint32 command)
{
  return find_request(fcntls, G_N_ELEMENTS(fcntls), command);
}

static const struct {
  guint32 level, first, last;
} nested_options[] = {
    {SOL_SOCKET, SO_ATTACH_FILTER, SO_ATTACH_FILTER}, /* and SO_GET_FILTER: an array behind a pointer */
    {SOL_SOCKET, SO_ATTACH_BPF, SO_ATTACH_BPF},       /* a descriptor */
    {SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF},
    {SOL_SOCKET, 77 /* SO_PEERPIDFD */, 77},
    {IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, TCP_ZEROCOPY_RECEIVE}, /* maps memory */
    {IPPROTO_IP, 64, 99},                                      /* netfilter's tables */
    {IPPROTO_IPV6, 64, 65},
    {IPPROTO_IPV6, 68, 69},
    {SOL_PACKET, 5 /* PACKET_RX_RING */, 5}, /* memory to map */
    {SOL_PACKET, 13 /* PACKET_TX_RING */, 13},
    {SOL_PACKET, 22 /* PACKET_FANOUT_DATA */, 22},
};

gboolean
syscalls_socket_option_nests(guint32 level, guint32 option)
{
  for (guint i = 0; i < G_N_ELEMENTS(nested_options); i++)
    if (nested_options[i].level == level && option >= nested_options[i].first &&
        option <= nested_options[i].last)
      return TRUE;
  /* What lies beyond these levels (SCTP, InfiniBand, …) is not known to be flat. */
  return level != SOL_SOCKET && level != IPPROTO_TCP && level != IPPROTO_UDP && level != IPPROTO_IP &&
         level != IPPROTO_IPV6 && level != IPPROTO_ICMPV6 && level != IPPROTO_RAW && level != SOL_NETLINK &&
         level != SOL_PACKET;
}

static const struct {
  guint32 option;
  SyscallClass class;
} prctls[] = {
    /* Of the thread, without meaning outside it. */
    {PR_SET_NAME, SYSCALL_NATIVE},
    {PR_GET_NAME, SYSCALL_NATIVE},
    {PR_SET_VMA, SYSCALL_NATIVE},
    {PR_GET_TIMERSLACK, SYSCALL_NATIVE},
    {PR_SET_TIMERSLACK, SYSCALL_NATIVE},
    {PR_GET_TSC, SYSCALL_NATIVE},
    {PR_SET_PTRACER, SYSCALL_NATIVE},
    /* Where the sandbox would show. */
    {PR_GET_DUMPABLE, SYSCALL_FORWARD},
    {PR_GET_KEEPCAPS, SYSCALL_FORWARD},
    {PR_GET_SECCOMP, SYSCALL_FORWARD},
    {PR_GET_SECUREBITS, SYSCALL_FORWARD},
    {PR_GET_NO_NEW_PRIVS, SYSCALL_FORWARD},
    {PR_GET_THP_DISABLE, SYSCALL_FORWARD},
    {PR_CAPBSET_READ, SYSCALL_FORWARD},
};

/* x86-64's arch_prctl: thread pointers are registers, and the rest of these only asks. */
static const guint32 native_arch_prctls[] = {
    0x1001 /* ARCH_SET_GS */,         0x1002 /* ARCH_SET_FS */,
    0x1003 /* ARCH_GET_FS */,         0x1004 /* ARCH_GET_GS */,
    0x1011 /* ARCH_GET_CPUID */,      0x1021 /* ARCH_GET_XCOMP_SUPP */,
    0x1022 /* ARCH_GET_XCOMP_PERM */, 0x3001 /* ARCH_CET_STATUS, as it was once */,
    0x5005 /* ARCH_SHSTK_STATUS */,
};

SyscallClass
syscall_prctl_class(const SyscallRow *row, const guint64 args[SYSCALL_ARGS])
{
  guint32 option = args[0];
  if (strcmp(row->name, "arch_prctl") == 0) {
    for (guint i = 0; i < G_N_ELEMENTS(native_arch_prctls); i++)
      if (native_arch_prctls[i] == option)
        return SYSCALL_NATIVE;
    return SYSCALL_CUT;
  }
  if (option == PR_CAP_AMBIENT && args[1] == PR_CAP_AMBIENT_IS_SET)
    return SYSCALL_FORWARD;
  for (guint i = 0; i < G_N_ELEMENTS(prctls); i++)
    if (prctls[i].option == option)
      return prctls[i].class;
  return SYSCALL_CUT;
}
