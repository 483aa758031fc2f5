/* Trials of what the kernel can tell about memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "mirror/probe_trials.h"

/* Not in the headers of the oldest kernel that doppel is built on (include/uapi/linux/fs.h, userfaultfd.h,
 * prctl.h). */
typedef struct {
  guint64 start, end, categories;
} ScanRegion;
typedef struct {
  guint64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
  guint64 category_inverted, category_mask, category_anyof_mask, return_mask;
} ScanArgument;
#define SCAN_IOCTL _IOWR('f', 16, ScanArgument)
enum { SCAN_WRITTEN = 1 << 1, SCAN_PRESENT = 1 << 3 };
enum { WP_UNPOPULATED = 1 << 13, WP_ASYNC = 1 << 15, USER_MODE_ONLY = 1 };

typedef struct {
  guint64 size, flags, address, start, end, map_flags, page_size, offset, inode;
  guint32 device_major, device_minor, name_size, build_id_size;
  guint64 name, build_id;
} MapQuery;
#define MAP_QUERY_IOCTL _IOWR('f', 17, MapQuery)

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

static guint8 *
map_pages(guint count)
{
  void *memory =
      mmap(NULL, count * getpagesize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

/* Which of `count` pages from `memory` are in a category: a bit each; negative with errno. */
static int
scan(const guint8 *memory, guint count, guint64 category)
{
  g_auto(Fd) fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  guint64 start = (gsize)memory, page = getpagesize();
  ScanRegion regions[8];
  ScanArgument argument = {.size = sizeof argument,
                           .start = start,
                           .end = start + count * page,
                           .vec = (gsize)regions,
                           .vec_len = G_N_ELEMENTS(regions),
                           .category_mask = category,
                           .return_mask = category};
  int found = ioctl(fd, SCAN_IOCTL, &argument);
  if (found < 0)
    return -1;
  int bits = 0;
  for (int i = 0; i < found; i++)
    for (guint64 at = regions[i].start; at < regions[i].end; at += page)
      bits |= 1 << ((at - start) / page);
  return bits;
}

gboolean
probe_pagemap_scan(ProbeNote *note)
{
  guint8 *memory = map_pages(4);
  if (!memory)
    return FALSE;
  memory[2 * getpagesize()] = 1;
  int bits = scan(memory, 4, SCAN_PRESENT);
  if (bits >= 0 && bits != 4)
    probe_note(note, "it reports the wrong pages");
  return bits == 4;
}

static int
open_userfaultfd(gboolean kernel)
{
  int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | (kernel ? 0 : USER_MODE_ONLY));
  /* The mode was named only later; before that one without it served both. */
  if (fd < 0 && !kernel && errno == EINVAL)
    fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    int saved = errno, device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device >= 0) {
      fd = ioctl(device, _IO(0xAA, 0), O_CLOEXEC | O_NONBLOCK);
      close(device);
    }
    if (fd < 0)
      errno = saved;
  }
  return fd;
}

static gboolean
offers_api(int fd, guint64 features)
{
  struct uffdio_api api = {.api = UFFD_API, .features = features};
  return ioctl(fd, UFFDIO_API, &api) == 0;
}

gboolean
probe_userfaultfd(ProbeNote *note)
{
  g_auto(Fd) fd = open_userfaultfd(FALSE);
  return fd >= 0 && offers_api(fd, 0);
}

gboolean
probe_userfaultfd_kernel(ProbeNote *note)
{
  g_auto(Fd) fd = open_userfaultfd(TRUE);
  return fd >= 0 && offers_api(fd, 0);
}

static void *
let_go(void *memory)
{
  madvise(memory, getpagesize(), MADV_DONTNEED);
  return NULL;
}

/* Another thread lets a page go, and is held until that was told. */
gboolean
probe_userfaultfd_events(ProbeNote *note)
{
  enum { PATIENCE_MS = 1000 };
  gsize page = getpagesize();
  guint8 *memory = map_pages(2);
  g_auto(Fd) fd = open_userfaultfd(TRUE);
  if (fd < 0 || !memory)
    return FALSE;
  if (!offers_api(fd, WP_ASYNC | WP_UNPOPULATED | UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
                          UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)) {
    probe_note(note, "userfaultfd does not offer its events together with WP_ASYNC and WP_UNPOPULATED");
    return FALSE;
  }
  struct uffdio_register all = {.range = {(gsize)memory, 2 * page},
                                .mode = UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING};
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  struct uffd_msg event = {0};
  pthread_t thread;
  if (ioctl(fd, UFFDIO_REGISTER, &all) != 0 || pthread_create(&thread, NULL, let_go, memory) != 0)
    return FALSE;
  if (poll(&wait, 1, PATIENCE_MS) == 1 && read(fd, &event, sizeof event) == sizeof event &&
      event.event == UFFD_EVENT_REMOVE && event.arg.remove.start == (gsize)memory)
    return pthread_join(thread, NULL) == 0;
  probe_note(note, "it does not tell that memory was let go");
  return FALSE;
}

/* Pages 0 and 1 are there, 2 and 3 were never touched; after protecting all, 1 and 3 are written. */
gboolean
probe_write_protect(ProbeNote *note)
{
  g_auto(Fd) fd = open_userfaultfd(FALSE);
  if (fd < 0)
    return FALSE;
  if (!offers_api(fd, WP_ASYNC | WP_UNPOPULATED)) {
    probe_note(note, "userfaultfd does not offer WP_ASYNC and WP_UNPOPULATED");
    return FALSE;
  }
  gsize page = getpagesize();
  guint8 *memory = map_pages(4);
  if (!memory)
    return FALSE;
  memory[0] = memory[page] = 1;
  struct uffdio_register all = {.range = {(gsize)memory, 4 * page}, .mode = UFFDIO_REGISTER_MODE_WP};
  struct uffdio_writeprotect protect = {.range = all.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  if (ioctl(fd, UFFDIO_REGISTER, &all) != 0 || ioctl(fd, UFFDIO_WRITEPROTECT, &protect) != 0)
    return FALSE;
  memory[page] = memory[3 * page] = 2;
  int bits = scan(memory, 4, SCAN_WRITTEN);
  if (bits >= 0 && bits != 10)
    probe_note(note, "it reports the wrong pages");
  return bits == 10;
}

static gboolean
is_soft_dirty(const guint8 *address, gboolean *dirty)
{
  g_auto(Fd) fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  guint64 entry;
  if (fd < 0 ||
      pread(fd, &entry, sizeof entry, (gsize)address / getpagesize() * sizeof entry) != sizeof entry)
    return FALSE;
  *dirty = (entry >> 55) & 1;
  return TRUE;
}

/* Writing to clear_refs succeeds also where the kernel keeps no such bits: only a bit that comes back counts.
 */
gboolean
probe_soft_dirty(ProbeNote *note)
{
  guint8 *memory = map_pages(1);
  g_auto(Fd) fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  gboolean cleared, written;
  if (!memory || fd < 0)
    return FALSE;
  memory[0] = 1;
  if (write(fd, "4", 1) != 1 || !is_soft_dirty(memory, &cleared))
    return FALSE;
  memory[0] = 2;
  if (!is_soft_dirty(memory, &written))
    return FALSE;
  if (cleared || !written)
    probe_note(note, "not compiled into this kernel: a written page is not marked");
  return !cleared && written;
}

gboolean
probe_procmap_query(ProbeNote *note)
{
  guint8 *memory = map_pages(1);
  g_auto(Fd) fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (!memory || fd < 0)
    return FALSE;
  MapQuery query = {.size = sizeof query, .address = (gsize)memory};
  return ioctl(fd, MAP_QUERY_IOCTL, &query) == 0 && query.start <= (gsize)memory && query.end > (gsize)memory;
}

gboolean
probe_tid_address(ProbeNote *note)
{
  int *address = NULL, mine;
  syscall(SYS_set_tid_address, &mine);
  return prctl(PR_GET_TID_ADDRESS, &address) == 0 && address == &mine;
}
