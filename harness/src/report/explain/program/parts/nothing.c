static void nothing(int signal)
{
	(void)signal;
}
