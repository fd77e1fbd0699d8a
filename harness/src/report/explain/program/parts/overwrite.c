/* Writes to the file by pwrite(2). */
static void overwrite(int fd, long offset, long len, int write)
{
	unsigned char *bytes = {{MALLOC}};

	for (long i = 0; i < len; i++)
		bytes[i] = pattern(offset + i, write);
	must(pwrite(fd, bytes, len, offset), "pwrite");
	free(bytes);
}
