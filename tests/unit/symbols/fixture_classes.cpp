// C++ names for the symbol tests: overloads, templates, operators, an unnamed namespace.
#include <string>

namespace doc
{
class Page
{
public:
  explicit Page(int size);
  ~Page();
  __attribute__((noinline)) int render(int depth);
  __attribute__((noinline)) int render(const char *name, long depth) const;
  bool operator<(const Page &other) const;
  Page &operator<<(int value);
  int operator()(int value);

private:
  int size_;
};

Page::Page(int size) : size_(size)
{
}
Page::~Page()
{
  size_ = 0;
}
int
Page::render(int depth)
{
  return size_ * depth;
}
int
Page::render(const char *name, long depth) const
{
  return size_ + name[0] + (int)depth;
}
bool
Page::operator<(const Page &other) const
{
  return size_ < other.size_;
}
Page &
Page::operator<<(int value)
{
  size_ += value;
  return *this;
}
int
Page::operator()(int value)
{
  return size_ - value;
}

template <typename T>
__attribute__((noinline)) T
scale(T value)
{
  return value * 2;
}
template int scale<int>(int);
template double scale<double>(double);

std::string
title(const std::string &text)
{
  return text + "!";
}
} // namespace doc

namespace
{
__attribute__((noinline)) int
hidden(int x)
{
  return x ^ 5;
}
} // namespace

int
main(int argc, char **argv)
{
  doc::Page page(argc);
  page << 3;
  return hidden(page.render(2) + page.render(argv[0], 1) + page(1)) + (page < page) +
         (int)doc::title("t").size();
}
