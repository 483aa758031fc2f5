/* Notes between friends' clones: a program over Clone2Clone in sixty lines.
 *
 *   c2c-notes take COUNT          take so many notes, and print them
 *   c2c-notes leave FRIEND TEXT   leave one with a friend
 *
 *   cc c2c-notes.c $(pkg-config --cflags --libs doppel-c2c) -o c2c-notes */
#include <doppel/c2c.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICE "message:notes" /* who may: "doppel allow FRIEND message:notes" */
#define ANSWER  "has it" /* a stream that is lost ends like one that was ended: this tells them apart */

/* All up to the end, but what does not fit; nothing that would steer a terminal. */
static size_t
read_text(int stream, char *text, size_t size)
{
  size_t length = 0;
  ssize_t got;
  while (length < size - 1 && (got = read(stream, text + length, size - 1 - length)) > 0)
    length += (size_t)got;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
      text[i] = '?';
  text[length] = '\0';
  return length;
}

static int
take(C2c *c2c, long count, char **why)
{
  char text[4096];
  C2cPeer peer; /* who it is, as their clone has proved */
  C2cListener *listener = c2c_listen(c2c, SERVICE, why);
  if (!listener)
    return -1;
  fprintf(stderr, "waiting\n");
  for (int stream; count > 0 && (stream = c2c_accept(listener, &peer)) >= 0; close(stream))
    if (read_text(stream, text, sizeof text) > 0 && write(stream, ANSWER, strlen(ANSWER)) > 0 && count-- > 0)
      printf("%s: %s\n", peer.name, text);
  c2c_listener_close(listener);
  return count;
}

static int
leave(C2c *c2c, const char *user, const char *text, char **why)
{
  char answer[64];
  int stream = c2c_dial(c2c, user, SERVICE, why);
  if (stream < 0)
    return -1;
  int sent = write(stream, text, strlen(text)) == (ssize_t)strlen(text) && shutdown(stream, SHUT_WR) == 0;
  int taken = sent && read_text(stream, answer, sizeof answer) > 0 && strcmp(answer, ANSWER) == 0;
  close(stream);
  if (taken)
    printf("%s %s\n", user, answer);
  return taken ? 0 : -1;
}

int
main(int argc, char **argv)
{
  char *why = NULL;
  int taking = argc == 3 && strcmp(argv[1], "take") == 0;
  if (!taking && !(argc == 4 && strcmp(argv[1], "leave") == 0))
    return fprintf(stderr, "usage: c2c-notes take COUNT | c2c-notes leave FRIEND TEXT\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  C2c *c2c = c2c_open(NULL, &why); /* the clone's node, or on a device the gateway */
  int status = !c2c ? -1 : taking ? take(c2c, atol(argv[2]), &why) : leave(c2c, argv[2], argv[3], &why);
  if (status != 0)
    fprintf(stderr, "c2c-notes: %s\n", why ? why : "the note was lost on the way");
  free(why);
  c2c_close(c2c);
  return status == 0 ? 0 : 1;
}
