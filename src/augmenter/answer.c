#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "augmenter/augmenter.h"
#include "base/io.h"
#include "mirror/files.h"

void
held_call_free(HeldCall *call)
{
  if (!call)
    return;
  pincall_free(call->call);
  g_free(call);
}

/* A call whose thread was killed meanwhile can no longer be answered (ENOENT); there is nobody to tell. */
static void
respond(Augmenter *augmenter, HeldCall *call, const struct seccomp_notif_resp *response)
{
  (void)ioctl(augmenter->listener, SECCOMP_IOCTL_NOTIF_SEND, response);
  g_ptr_array_remove(augmenter->held, call);
}

void
augmenter_continue(Augmenter *augmenter, HeldCall *call)
{
  struct seccomp_notif_resp response = {.id = call->notification, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  respond(augmenter, call, &response);
}

void
augmenter_answer(Augmenter *augmenter, HeldCall *call, gint64 value)
{
  struct seccomp_notif_resp response = {.id = call->notification};
  if (value < 0 && value >= -4095)
    response.error = (gint32)value;
  else
    response.val = value;
  if (value == MIRROR_CALL_INTERRUPTED)
    g_hash_table_add(augmenter->sent_back, GINT_TO_POINTER(call->tid));
  respond(augmenter, call, &response);
}

int
augmenter_add_placeholder(Augmenter *augmenter, HeldCall *call, guint32 pin)
{
  char name[64];
  snprintf(name, sizeof name, MIRROR_PIN_NAME "%u", pin);
  g_auto(Fd) placeholder = memfd_create(name, MFD_CLOEXEC);
  if (placeholder < 0)
    return -1;
  struct seccomp_notif_addfd add = {
      .id = call->notification,
      .srcfd = placeholder,
      .newfd_flags = syscall_makes_cloexec(call->row, call->arguments, 0) ? O_CLOEXEC : 0,
  };
  g_hash_table_add(augmenter->pins, GINT_TO_POINTER((int)pin));
  return ioctl(augmenter->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
}

gboolean
augmenter_pin_of(Augmenter *augmenter, pid_t tid, int number, gint32 *pin)
{
  *pin = mirror_files_pin_of(augmenter->sandbox->proc_fd, tid, number);
  return *pin >= 0;
}
