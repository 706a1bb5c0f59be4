int yylloc;
