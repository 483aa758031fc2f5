/* Signals while the program is in the clone: what reaches the sleeping primary goes to the mirror. */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "controller/controller.h"

#define FATAL_PATIENCE_NS                                                                                    \
  1000000000ll /* for the state to come home before a fatal signal is obeyed without it */

static guint64
status_mask(MirrorProcess *process, const char *field)
{
  g_autofree char *status = io_read_file_at(process->directory, "status", 1 << 16);
  const char *line = status ? strstr(status, field) : NULL;
  return line ? g_ascii_strtoull(line + strlen(field), NULL, 16) : 0;
}

static gboolean
is_stop_signal(int signal)
{
  return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* The stop's signal is taken from the primary; the call it is in, if any, goes on or is made again by the
 * kernel. */
gboolean
signals_forward(Controller *controller, MirrorThread *thread, GError **error)
{
  int number = thread->stop_signal;
  guint64 bit = 1ull << (number - 1);
  gboolean caught = (status_mask(controller->process, "\nSigCgt:") & bit) != 0;
  gboolean ignored = (status_mask(controller->process, "\nSigIgn:") & bit) != 0;
  /* Job control is about the device's terminal, and a write to a broken pipe is answered to the mirror as
   * one. */
  if (!caught && (is_stop_signal(number) || number == SIGCONT))
    return mirror_thread_resume(thread, PTRACE_CONT, error);
  thread->stop_signal = 0;
  if (number != SIGPIPE || thread->stop_info.si_pid != controller->pid) {
    gboolean to_thread = thread->stop_info.si_code == SI_TKILL;
    ForwardedSignal signal = {to_thread ? thread->own_tid : 0, thread->stop_info};
    Doppel__Engine__Signal message = DOPPEL__ENGINE__SIGNAL__INIT;
    g_array_append_val(controller->signals_sent, signal);
    message.thread = signal.own_tid;
    message.has_block = TRUE;
    message.block = controller->block;
    message.info.data = (guint8 *)&signal.info;
    message.info.len = sizeof signal.info;
    if (!caught && !ignored && number != SIGCHLD && number != SIGURG && number != SIGWINCH &&
        !controller->signal_deadline_ns)
      controller->signal_deadline_ns = clock_now_ns() + FATAL_PATIENCE_NS;
    if (controller->link && !ENGINE_SEND(controller->link, SIGNAL, signal, &message, NULL))
      controller->failure = controller->failure ? controller->failure : g_strdup("the link broke");
  }
  return mirror_thread_resume(thread, PTRACE_CONT, error);
}

/* Gives back to the primary those that the mirror did not get, or all of them after an abort. */
void
signals_requeue(Controller *controller, guint from)
{
  for (guint i = from; i < controller->signals_sent->len; i++) {
    const ForwardedSignal *sent = &g_array_index(controller->signals_sent, ForwardedSignal, i);
    MirrorSignal signal = {sent->own_tid, sent->info};
    mirror_signals_put(controller->process, &signal, NULL);
  }
  g_array_set_size(controller->signals_sent, 0);
}

/* What was sent to doppel itself is meant for the program; what the terminal sends, the program gets without
 * us. */
gboolean
signals_own(Controller *controller)
{
  struct signalfd_siginfo infos[8];
  gboolean children = FALSE;
  ssize_t got;
  do {
    got = read(controller->signals, infos, sizeof infos);
    for (gsize i = 0; got > 0 && i < got / sizeof infos[0]; i++) {
      int number = (int)infos[i].ssi_signo;
      if (number == SIGCHLD)
        children = TRUE;
      else if (infos[i].ssi_code <= 0)
        kill(controller->pid, number);
    }
  } while (got == sizeof infos);
  return children;
}
