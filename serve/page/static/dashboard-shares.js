showBody();
