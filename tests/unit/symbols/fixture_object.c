/* Compiled to an object file, which is ELF but neither a program nor a library. */
int fixture_object(int x);

int
fixture_object(int x)
{
  return x;
}
