int yylloc;

int main(void)
{
	return yylloc;
}
