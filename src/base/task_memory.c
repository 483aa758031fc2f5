#include "base/task_memory.h"

#include <sys/uio.h>

gboolean
task_memory_read(pid_t tid, guint64 address, void *to, gsize length)
{
  struct iovec here = {to, length}, there = {(void *)(guintptr)address, length};
  return length == 0 || process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)length;
}

gboolean
task_memory_write(pid_t tid, guint64 address, const void *from, gsize length)
{
  struct iovec here = {(void *)from, length}, there = {(void *)(guintptr)address, length};
  return length == 0 || process_vm_writev(tid, &here, 1, &there, 1, 0) == (ssize_t)length;
}
