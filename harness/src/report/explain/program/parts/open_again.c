/* The file by a descriptor of another kind. */
static int open_again(int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return open(path, flags);
}
