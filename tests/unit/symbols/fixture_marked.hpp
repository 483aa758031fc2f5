/* What several objects have a copy of. */
#pragma once

#include "doppel/offload.h"

namespace marked
{

template <typename T>
T
scale(T value)
{
  DOPPEL_OFFLOAD;
  return value * 3;
}

inline int
shared(int n)
{
  DOPPEL_OFFLOAD;
  return n * n;
}

struct Shape {
  int side;
  explicit Shape(int length) : side(length)
  {
    DOPPEL_OFFLOAD;
  }
  virtual ~Shape() = default;
  virtual int area() const
  {
    DOPPEL_OFFLOAD;
    return side * side;
  }
  int operator()(int n)
  {
    DOPPEL_OFFLOAD;
    return n + side;
  }
};

} // namespace marked

int other_object(int n);
