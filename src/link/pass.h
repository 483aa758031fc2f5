/* Handing sockets from one process to another over a SOCK_SEQPACKET socket pair (SCM_RIGHTS, unix(7)). */
#pragma once

#include <glib.h>

/* Sends `fd`, without waiting. FALSE with an error; GONE where nobody receives any more. */
gboolean link_pass_send(int control_fd, int fd, GError **error);

/* Receives a socket, close-on-exec: 1 with *fd, the caller's; 0 where none waits; -1 when none will ever come
 * again (the sender is gone): stop polling then. */
int link_pass_receive(int control_fd, int *fd);

/* The same with words of at most LINK_PASS_MAX bytes; `fd` -1: the words alone. */
#define LINK_PASS_MAX 65536u
gboolean link_pass_send_with(int control_fd, int fd, const void *data, gsize length, GError **error);

/* The next words, with what came along: 1 with *length of at most `room` bytes (longer ones are cut: a sender
 * who is trusted) and *fd (-1: none); else as above. */
int link_pass_receive_with(int control_fd, int *fd, void *data, gsize room, gsize *length);
