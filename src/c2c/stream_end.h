/* How a stream between two programs of one machine ended, over a pair of Unix sockets (unix(7)).
 *
 * There, a stream that was cut off looks like one that was ended: the reader gets end of file. So an end
 * whose closing is proper has a name (an abstract one, of no other use): a program's is named when it is
 * made, since a program that closes it, or ends, has ended the stream; that of a process which passes the
 * stream on is named when it passes the end on. Who reads end of file, and finds the other end without a
 * name, knows that the stream was cut off, also where the process that had the other end has died. Plain C.
 */
#pragma once

#include <stdbool.h>

/* Closing it is proper from now on. False with errno; true where it is named already. */
bool stream_end_name(int fd);

/* After end of file: whether that was proper. True for sockets of other families, which can tell
 * ECONNRESET. False with errno ECONNRESET. */
bool stream_end_is_proper(int fd);
