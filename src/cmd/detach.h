/* A verb that goes on in the background once it is ready. */
#pragma once

#include "base/io.h"

/* In a child, which the caller is from now on, in a session of its own: a descriptor for detach_done(), or -1
 * with errno. The parent does not return: it waits, and exits with 0, or with 1 where the child has ended
 * before. */
int detach(void);

/* The parent may go. Nothing is printed or read any more. *parent is closed; -1: there is none. */
void detach_done(Fd *parent);
